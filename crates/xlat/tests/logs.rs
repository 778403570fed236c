//! Where lines about flows and events go, with real flows: files that are moved away, syslog, readers of the API, and places that
//! take nothing.
#![allow(clippy::unwrap_used, reason = "a test's helpers")]

use std::fs;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;
use xlat_netlab::{Background, Namespace, Wire, scenes, unavailable};

const LIMIT: Duration = Duration::from_secs(15);

struct Scene {
    a: Namespace,
    t: Namespace,
    _v: Namespace,
    _wire: Wire,
    folder: PathBuf,
}

impl Scene {
    fn build(name: &str) -> Option<Self> {
        let tun = fs::File::options().read(true).write(true).open("/dev/net/tun").err();
        if let Some(reason) = unavailable().or_else(|| tun.map(|error| format!("/dev/net/tun: {error}"))) {
            eprintln!("skipped: {reason}");
            return None;
        }
        let folder = std::env::temp_dir().join(format!("xlat-logs-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let ([a, t, v], wire) = scenes::one_wire().unwrap();
        Some(Self { a, t, _v: v, _wire: wire, folder })
    }

    fn configure(&self, log: &str, more: &str) {
        let config = format!(
            "[fast-path]\nenabled = false\n[log]\n{log}\n[[instance]]\nname = \"default\"\ntype = \"nat64\"\n\
             pool4 = [\"203.0.113.2\"]\n[instance.global]\npool6 = \"64:ff9b::/96\"\nlogging-bib = true\n\
             logging-session = true\n{more}"
        );
        fs::write(self.folder.join("xlat.toml"), config).unwrap();
    }

    fn start(&self) -> Background {
        let mut command = self.t.command(env!("CARGO_BIN_EXE_xlat"));
        command.arg("run").arg("--config").arg(self.folder.join("xlat.toml"));
        command.arg("--state-dir").arg(self.folder.join("state"));
        Background::start(&self.t, "xlat", command).unwrap()
    }

    fn pings(&self) {
        self.a.run("ping -n -c 1 -w 5 64:ff9b::203.0.113.16").unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.join(name)).unwrap_or_default()
    }

    fn lost(&self) -> u64 {
        let url = "http://xlat/v1/instances/nat64/default/statistics";
        let table = self.t.run(&format!("curl -sf --abstract-unix-socket xlat {url}")).unwrap();
        let row = table.lines().find(|row| row.contains("\"log-lines-lost\"")).unwrap();
        serde_json::from_str::<Value>(row).unwrap()["value"].as_u64().unwrap()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // Leaving a file behind in the temporary folder fails no test.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < end, "{what}: not within {LIMIT:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn end(mut xlat: Background) {
    xlat.signal(Signal::INT).unwrap();
    assert!(xlat.wait(LIMIT).unwrap().success());
}

/// The kinds of events in a log of JSON lines, each of which must have its time.
fn kinds(text: &str) -> Vec<String> {
    let kind = |line: &str| {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(event["time"].as_str().unwrap().ends_with('Z'), "{line}");
        event["event"].as_str().unwrap().to_owned()
    };
    text.lines().map(kind).collect()
}

#[test]
fn a_file_is_followed_and_readers_hear_the_same() {
    let Some(scene) = Scene::build("file") else { return };
    let to = |form: &str| {
        format!("to = \"file:{}\"\nformat = \"{form}\"", scene.folder.join("flows.log").display())
    };
    scene.configure(&to("json"), "");
    let mut xlat = scene.start();
    xlat.wait_for("xlat is ready", LIMIT).unwrap();
    let url = "http://xlat/v1/events?within=2001:db8::/64&kind=bib-created,session-created,reloaded";
    let command = scene.t.line(&format!("curl -sN --abstract-unix-socket xlat {url}"));
    let mut reader = Background::start(&scene.t, "curl", command).unwrap();
    let all = scene.t.line("curl -sN --abstract-unix-socket xlat http://xlat/v1/events");
    let mut everything = Background::start(&scene.t, "curl", all).unwrap();
    // They have to be heard before anything happens.
    std::thread::sleep(Duration::from_millis(500));
    scene.pings();
    let heard = reader.wait_for("bib-created", LIMIT).unwrap();
    let event: Value = serde_json::from_str(&heard).unwrap();
    assert_eq!((&event["protocol"], &event["instance"]), (&"icmp".into(), &"default".into()));
    assert_eq!(
        (&event["ipv6"]["address"], &event["ipv4"]["address"]),
        (&"2001:db8::8".into(), &"203.0.113.2".into())
    );
    eventually("the file", || scene.read("flows.log").lines().count() == 2);
    assert_eq!(kinds(&scene.read("flows.log")), ["session-created", "bib-created"]);
    assert!(scene.read("flows.log").contains(&heard), "the same object");

    // Moved away: the signal makes a new one at once, and what happened is in it.
    fs::rename(scene.folder.join("flows.log"), scene.folder.join("flows.log.1")).unwrap();
    xlat.signal(Signal::HUP).unwrap();
    xlat.wait_for("configuration was read again", LIMIT).unwrap();
    eventually("a new file", || kinds(&scene.read("flows.log")) == ["reloaded"]);
    everything.wait_for("\"event\":\"reloaded\"", LIMIT).unwrap();

    // A place that cannot be opened leaves everything as it was.
    scene.configure("to = \"file:/nowhere/flows.log\"", "");
    xlat.signal(Signal::HUP).unwrap();
    let why = xlat.wait_for("stays as it was", LIMIT).unwrap();
    assert!(why.contains("/nowhere/flows.log") && why.contains("its folder has to exist"), "{why}");
    eventually("told", || kinds(&scene.read("flows.log")) == ["reloaded", "reload-failed"]);

    // Another form, and other tables: what Jool's users parse.
    scene.configure(&to("jool"), "udp-timeout = \"0:03:00\"\n");
    xlat.signal(Signal::HUP).unwrap();
    xlat.wait_for("configuration was read again", LIMIT).unwrap();
    everything.wait_for("\"event\":\"instance-changed\"", LIMIT).unwrap();
    scene.a.run("ping -n -c 1 -w 5 64:ff9b::203.0.113.16").unwrap();
    eventually("a line", || scene.read("flows.log").contains("(GMT) - Mapped 2001:db8::8#"));
    assert_eq!(scene.lost(), 0);
    end(xlat);

    scene.configure("to = \"file:/nowhere/flows.log\"", "");
    let mut xlat = scene.start();
    xlat.wait_for("the log of flows cannot go to \"file:/nowhere/flows.log\"", LIMIT).unwrap();
    assert!(!xlat.wait(LIMIT).unwrap().success());
}

/// A syslog daemon that nobody started: lines are lost and counted, packets pass.
#[test]
fn syslog_that_is_not_there_loses_lines_and_no_packets() {
    let Some(scene) = Scene::build("syslog") else { return };
    scene.configure("to = \"syslog:tcp:127.0.0.1:601\"", "");
    let mut xlat = scene.start();
    xlat.wait_for("xlat is ready", LIMIT).unwrap();
    scene.pings();
    xlat.wait_for("the log of flows is not written: syslog:tcp:127.0.0.1:601: Connection refused", LIMIT)
        .unwrap();
    xlat.wait_for("log lines about packets and flows were lost", LIMIT).unwrap();
    assert!(scene.lost() >= 1);
    // It comes up: what happens from then on is there.
    let namespace = fs::File::open(format!("/proc/{}/ns/net", scene.t.pid())).unwrap();
    let listener = std::thread::spawn(move || {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        std::net::TcpListener::bind("127.0.0.1:601").unwrap()
    });
    let listener = listener.join().unwrap();
    listener.set_nonblocking(true).unwrap();
    let mut connection = None;
    eventually("a connection", || {
        scene.pings();
        connection = listener.accept().ok();
        connection.is_some()
    });
    let (mut stream, _) = connection.unwrap();
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let mut buffer = [0; 256];
    let length = std::io::Read::read(&mut stream, &mut buffer).unwrap();
    let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
    assert!(text.contains(" <30>1 ") && text.contains("(GMT) - Added session 2001:db8::8#"), "{text}");
    end(xlat);
}

/// Who listens hears of flows though no log wants them; with nobody listening nothing is noted.
#[test]
fn readers_hear_of_flows_that_no_log_wants() {
    let Some(scene) = Scene::build("unlogged") else { return };
    let to = format!("to = \"file:{}\"\nformat = \"json\"", scene.folder.join("flows.log").display());
    scene.configure(&to, "");
    let file = scene.folder.join("xlat.toml");
    let quiet = fs::read_to_string(&file).unwrap().replace("= true", "= false");
    fs::write(&file, quiet).unwrap();
    let mut xlat = scene.start();
    xlat.wait_for("xlat is ready", LIMIT).unwrap();
    let command = scene.t.line(&format!("{} events --json", env!("CARGO_BIN_EXE_xlat")));
    let mut reader = Background::start(&scene.t, "xlat events", command).unwrap();
    let end_of_patience = Instant::now() + LIMIT;
    // Until it listens, what happens is not told. Each ping is a session of its own.
    let heard = loop {
        scene.pings();
        if let Ok(heard) = reader.wait_for("session-created", Duration::from_millis(500)) {
            break heard;
        }
        assert!(Instant::now() < end_of_patience, "nothing is heard");
    };
    let event: Value = serde_json::from_str(&heard).unwrap();
    assert_eq!((&event["protocol"], &event["remote6"]["address"]), (&"icmp".into(), &"2001:db8::8".into()));
    reader.wait_for("bib-created", LIMIT).unwrap();
    xlat.signal(Signal::HUP).unwrap();
    reader.wait_for("reloaded", LIMIT).unwrap();
    eventually("the log", || scene.read("flows.log").contains("reloaded"));
    assert_eq!(kinds(&scene.read("flows.log")), ["reloaded"], "nothing else is for the log");
    end(xlat);
}
