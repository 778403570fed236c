//! What goes wrong between a command and the daemon: nobody there, nobody who may, somebody who is silent, of another
//! release, or no longer reading.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process::{Command, Output};

use crate::lab::{Scene, XLAT};

/// Something that has the name of a daemon's socket, and what it says to a request for a path.
fn pretender(device: &str, answer: impl Fn(&str) -> Option<String> + Send + 'static) {
    let address = SocketAddr::from_abstract_name(format!("xlat.{device}")).unwrap();
    let listener = UnixListener::bind_addr(&address).unwrap();
    // It ends with the test's process.
    std::thread::spawn(move || {
        let mut silent = Vec::new();
        while let Ok((mut client, _)) = listener.accept() {
            let mut request = [0; 4096];
            let length = client.read(&mut request).unwrap_or(0);
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            let path = request.split_whitespace().nth(1).unwrap_or_default();
            match answer(path) {
                Some(text) => _ = client.write_all(text.as_bytes()),
                None => silent.push(client),
            }
        }
    });
}

fn http(status: &str, body: &str) -> Option<String> {
    let length = body.len();
    Some(format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"))
}

fn xlat(words: &[&str]) -> Output {
    Command::new(XLAT).args(words).output().unwrap()
}

/// A device that nobody else uses.
fn device(name: &str) -> String {
    format!("{name}{}", std::process::id())
}

/// Who may not see what runs is not told that nothing does.
#[test]
fn another_user_is_told_what_to_do_about_stopping() {
    let Some(scene) = Scene::build("stop") else { return };
    let state = scene.folder.join("state");
    let stop = |line: &str| {
        let stranger = "setpriv --reuid 65534 --regid 65534 --clear-groups";
        let line = format!("{stranger} {XLAT} stop --state-dir {}{line}", state.display());
        let output = scene.t.line(&line).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    };
    if !scene
        .t
        .line(&format!("setpriv --reuid 65534 --clear-groups test -x {XLAT}"))
        .status()
        .unwrap()
        .success()
    {
        eprintln!("skipped: other users cannot run {XLAT}");
        return;
    }
    let (code, said) = stop("");
    assert!(code == Some(0) && said.contains("only root can see"), "{said}");
    assert!(scene.stdout("stop").contains("nothing of xlat runs here"));
    let config = "[[instance]]\nname = \"n\"\ntype = \"nat64\"\npool4 = [\"203.0.113.2\"]\n\
                  [instance.global]\npool6 = \"64:ff9b::/96\"\n";
    let mut daemon = scene.daemon(Some(config));
    // Whether its notes can be read or not.
    for mode in [0o700, 0o755] {
        fs::set_permissions(&state, fs::Permissions::from_mode(mode)).unwrap();
        let (code, said) = stop("");
        assert!(code == Some(1) && said.contains("root may: sudo xlat stop"), "{mode:o}: {said}");
    }
    assert!(daemon.0.is_running());
}

#[test]
fn nobody_there() {
    let device = device("no");
    for line in
        ["pool4", "session --json", "stats", "global update tos 5", "instance flush --yes", "diff Cargo.toml"]
    {
        let mut words: Vec<&str> = line.split(' ').collect();
        words.extend(["--device", &device]);
        let output = xlat(&words);
        let said = String::from_utf8(output.stderr).unwrap();
        let expected = if line.starts_with("diff") { 2 } else { 3 };
        assert_eq!(output.status.code(), Some(expected), "{line}: {said}");
        if expected == 3 {
            assert!(said.contains("no xlat daemon runs in this network namespace"), "{line}: {said}");
        }
        assert_eq!(output.stdout, b"", "{line}");
    }
    let output = xlat(&["pool4", "--json", "--device", &device]);
    let error: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(error["error"]["whose"], "host");
}

#[test]
fn a_silent_daemon_is_not_waited_for() {
    let device = device("mute");
    pretender(&device, |_| None);
    for line in ["pool4", "global update tos 5 -i x"] {
        let mut words: Vec<&str> = line.split(' ').collect();
        words.extend(["--timeout", "0.3", "--device", &device]);
        let output = xlat(&words);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{line}: {said}");
        assert!(said.contains("has not answered"), "{line}: {said}");
    }
}

/// Whoever waits on a terminal sees that something goes on, and nothing of it afterwards; a log sees none of it.
#[test]
fn what_takes_longer_than_a_second_has_a_clock() {
    let device = device("slow");
    let answer = |path: &str| -> Option<String> {
        std::thread::sleep(std::time::Duration::from_millis(1500));
        match path {
            path if path.starts_with("/v1/configuration") => http("200 OK", ""),
            _ => http("404 Not Found", ""),
        }
    };
    pretender(&device, answer);
    let folder = std::env::temp_dir();
    let file = folder.join(format!("xlat-clock-{}.toml", std::process::id()));
    fs::write(&file, "").unwrap();
    for line in ["export", &format!("diff {}", file.display())] {
        let line = format!("{line} --device {device}");
        let on_terminal = Command::new("script")
            .args(["--quiet", "--command", &format!("{XLAT} {line}"), "/dev/null"])
            .output()
            .unwrap();
        let said = String::from_utf8(on_terminal.stdout).unwrap();
        assert!(said.contains(": 1 s") && said.contains("\r\x1b[K"), "{line}: {said:?}");
        let words: Vec<&str> = line.split(' ').collect();
        let said = String::from_utf8(xlat(&words).stderr).unwrap();
        assert!(!said.contains(": 1 s"), "{line}: {said}");
    }
    fs::remove_file(&file).unwrap();
}

#[test]
fn a_daemon_that_stops_within_a_table_is_not_waited_for() {
    let device = device("half");
    pretender(&device, |path| match path {
        "/v1/instances" => http(
            "200 OK",
            "{\"namespace\":1,\"name\":\"n\",\"translator\":\"nat64\",\"framework\":\"netfilter\"}\n",
        ),
        // One row, and the promise of more.
        path if path.contains("/pool4") => {
            Some("HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n{\"mark\":0,".to_owned())
        }
        _ => http("404 Not Found", ""),
    });
    let output = xlat(&["pool4", "--timeout", "0.3", "--device", &device]);
    let said = String::from_utf8(output.stderr).unwrap();
    // The pretender closes: the daemon has died within a row.
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("the daemon's answer cannot be read"), "{said}");
}

#[test]
fn another_release_is_named() {
    let device = device("old");
    pretender(&device, |path| match path {
        "/v1/status" => http("200 OK", "{\"version\":\"0.0.7\",\"pid\":1,\"device\":\"x\",\"instances\":0}"),
        "/v1/instances" => http("200 OK", "{\"names\":\"are elsewhere\"}\n"),
        path => http(
            "404 Not Found",
            &format!(
                "{{\"error\":{{\"whose\":\"client\",\"what\":\"there is no GET {path}\",\"errno\":3}}}}"
            ),
        ),
    });
    for words in [["export"], ["events"], ["pool4"]] {
        let output = xlat(&[words[0], "--device", &device]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{words:?}: {said}");
        assert!(said.contains("the daemon is of release 0.0.7"), "{words:?}: {said}");
        assert!(said.contains(concat!("this program of ", env!("CARGO_PKG_VERSION"))), "{words:?}: {said}");
    }
}

#[test]
fn nonsense_is_no_panic() {
    let device = device("mad");
    pretender(&device, |path| match path.len() % 3 {
        0 => Some("\0\u{1}\u{2}".repeat(100)),
        1 => http("200 OK", "[[[["),
        _ => http("500 Oh", "\u{fffd}"),
    });
    for line in [
        "pool4",
        "session",
        "stats",
        "global",
        "instance",
        "export",
        "instance status",
        "events",
        "eamt flush -y",
    ] {
        let mut words: Vec<&str> = line.split(' ').collect();
        words.extend(["--device", &device, "--timeout", "2"]);
        let output = xlat(&words);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{line}: {said}");
        assert!(!said.contains("panicked"), "{line}: {said}");
    }
}

#[test]
fn strangers_may_not() {
    let Some(scene) = Scene::build("access") else { return };
    let _daemon = scene.daemon(None);
    scene.stdout("nat64 --pool4 203.0.113.2");
    for line in ["session", "instance flush --yes", "status"] {
        let mut stranger = scene.t.command("setpriv");
        let output = stranger
            .args(["--reuid", "65534", "--regid", "65534", "--clear-groups", XLAT])
            .args(line.split(' '))
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        if said.contains("setpriv:") {
            eprintln!("skipped: {said}");
            return;
        }
        if line == "status" {
            let told = String::from_utf8(output.stdout).unwrap();
            assert!(told.starts_with("daemon    runs\n          it does not say more: "), "{told}{said}");
            continue;
        }
        assert_eq!(output.status.code(), Some(1), "{line}: {said}");
        assert!(said.contains("the group xlat"), "{line}: {said}");
    }
    assert!(scene.stdout("instance").contains("default"));
}

#[test]
fn a_reader_that_has_seen_enough_ends_it_quietly() {
    let Some(scene) = Scene::build("pipe") else { return };
    let _daemon = scene.daemon(None);
    scene.stdout("nat64 --pool4 203.0.113.2");
    let mappings: String = (0..4000_u32)
        .map(|number| format!("\"192.0.{}.{} 2001:db8::{number:x}\",\n", number / 250, number % 250))
        .collect();
    let file = format!("[[instance]]\nname = \"many\"\ntype = \"siit\"\neamt = [\n{mappings}]\n");
    fs::write(scene.folder.join("many.toml"), file).unwrap();
    scene.stdout("file handle many.toml");
    for line in ["eamt", "eamt --json", "eamt --csv", "eamt --watch 0.1 --json", "help-is-long --help"] {
        let line = line.replace("help-is-long", "pool4");
        let script = format!("{XLAT} {line} | head -n 1; echo ${{PIPESTATUS[0]}}");
        let output = scene.t.command("bash").args(["-c", &script]).output().unwrap();
        let (said, wrong) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(said.lines().count() == 2 && said.ends_with("\n0\n"), "{line}: {said} {wrong}");
        assert_eq!(wrong, "", "{line}");
    }
}
