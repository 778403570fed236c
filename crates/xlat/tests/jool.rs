//! Jool's commands in front of a running daemon: whole sessions of command lines with what they print and how they end, and
//! what the peers on the wire see of them.
#![allow(clippy::unwrap_used, reason = "a test's helpers")]

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use xlat_netlab::{Background, Namespace, Wire, unavailable};

const LIMIT: Duration = Duration::from_secs(10);

/// A and V on one wire with T, where the daemon and the commands run.
struct Scene {
    a: Namespace,
    t: Namespace,
    v: Namespace,
    _wire: Wire,
    folder: PathBuf,
}

impl Scene {
    /// None, with a message, where it cannot be built.
    fn build(name: &str) -> Option<Self> {
        let tun = fs::File::options().read(true).write(true).open("/dev/net/tun").err();
        if let Some(reason) = unavailable().or_else(|| tun.map(|error| format!("/dev/net/tun: {error}"))) {
            eprintln!("skipped: {reason}");
            return None;
        }
        let folder = std::env::temp_dir().join(format!("xlat-jool-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        for program in ["jool", "jool_siit"] {
            symlink(env!("CARGO_BIN_EXE_xlat"), folder.join(program)).unwrap();
        }
        let (wire, a) = (Wire::new().unwrap(), Namespace::new("A").unwrap());
        let (t, v) = (Namespace::new("T").unwrap(), Namespace::new("V").unwrap());
        for (node, addresses) in [
            (&a, &["2001:db8::8/96"][..]),
            (&t, &["2001:db8::1/96", "203.0.113.1/24"]),
            (&v, &["203.0.113.16/24"]),
        ] {
            wire.attach(node, "eth0").unwrap();
            addresses.iter().for_each(|address| node.address("eth0", address).unwrap());
        }
        a.ip("route add 64:ff9b::/96 via 2001:db8::1").unwrap();
        Some(Self { a, t, v, _wire: wire, folder })
    }

    /// The daemon, without any instance.
    fn empty(&self) -> Daemon {
        let mut command = self.t.command(env!("CARGO_BIN_EXE_xlat"));
        command.args(["run", "--empty", "--state-dir"]).arg(self.folder.join("state"));
        let mut xlat = Background::start(&self.t, "xlat", command).unwrap();
        xlat.wait_for("xlat is ready", LIMIT).unwrap();
        Daemon(xlat)
    }

    fn run(&self, line: &str) -> Output {
        let mut words = line.split_whitespace();
        let program = self.folder.join(words.next().unwrap());
        let mut command = self.t.command(program.to_str().unwrap());
        command.args(words).current_dir(&self.folder).output().unwrap()
    }

    /// What a command prints on standard output; it must succeed.
    fn stdout(&self, line: &str) -> String {
        let output = self.run(line);
        assert!(output.status.success(), "{line}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Command lines with everything they print, as on a terminal.
    fn transcript(&self, lines: &str) -> String {
        let namespace = fs::metadata(format!("/proc/{}/ns/net", self.t.pid())).unwrap().ino() & 0xffff_ffff;
        let mut text = String::new();
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let output = self.run(line);
            let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            write!(text, "$ {line}\n{}{}", said(&output.stdout), said(&output.stderr)).unwrap();
            match output.status.code() {
                Some(0) => {}
                code => writeln!(text, "[{}]", code.unwrap()).unwrap(),
            }
        }
        text.replace(&format!("{namespace:>18x}"), "         NAMESPACE")
            .replace(&format!("{namespace:x}"), "NAMESPACE")
    }

    fn pings(&self) -> bool {
        self.a.run("ping -n -c 1 -w 3 64:ff9b::203.0.113.16").is_ok()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.folder).unwrap();
    }
}

/// A daemon that takes everything back when the test ends.
struct Daemon(Background);

impl Drop for Daemon {
    fn drop(&mut self) {
        let ended = self.0.signal(Signal::INT).and_then(|()| self.0.wait(LIMIT));
        if let Err(error) = ended {
            eprintln!("something of xlat may be left: {error}");
        }
    }
}

const NAT64: &str = "
    jool instance display
    jool instance status
    jool instance add --pool6 64:ff9b::/95
    jool instance add --pool6 64:ff9b::1/96
    jool instance add
    jool -i one instance add two --pool6 64:ff9b::/96
    jool instance add --pool6 64:ff9b::/96
    jool instance add --pool6 64:ff9b:1::/96
    jool instance add other --netfilter --pool6 64:ff9b:1::/96
    jool instance add alpha --iptables --pool6 2001:db8:64::/96
    jool -i x instance display
    jool i d --csv
    jool instance display --no-headers
    jool instance status
    jool -i nope instance status
    jool global display
    jool global display --csv
    jool global update tcp-est 1:59:59
    jool global update udp-timeout 0:10:00
    jool global update f-args 16
    jool global update lowest-ipv6-mtu 1279
    jool global update tos 256
    jool global update manually-enabled maybe
    jool global update mtu-plateaus 0,0
    jool global update pool6 64:ff9b:2::/96
    jool global update pool6 null
    jool pool4 display
    jool pool4 display --no-headers
    jool pool4 add 203.0.113.2 1-65535 --tcp
    jool pool4 add 203.0.113.2/31 61001-61010 --udp
    jool pool4 add 203.0.113.1/24 61001-61010 --udp
    jool pool4 add 203.0.113.2 1-65535 --tcp --force
    jool pool4 add 203.0.113.2 1-65535 --icmp --max-iterations infinity
    jool pool4 add 203.0.113.4 100-50 --tcp --mark 5 --max-iterations 0
    jool pool4 add 203.0.113.4 100-50 --tcp --mark 5
    jool pool4 display
    jool pool4 display --udp --csv
    jool pool4 display --icmp
    jool pool4 remove 203.0.113.4 60-70 --mark 5
    jool pool4 display --csv --no-headers
    jool bib add 203.0.113.9#80 2001:db8::3#80
    jool bib add 203.0.113.2#80 2001:db8::3#80
    jool bib add 203.0.113.2#80 2001:db8::4#80
    jool bib display --numeric
    jool bib display --csv
    jool bib remove 203.0.113.2#81
    jool bib remove 203.0.113.2#80
    jool bib display --numeric
    jool session display
    jool session display --csv
    jool -i nope pool4 display
    jool -i 1234567890123456 pool4 display
    jool eamt display
    jool session advertise
    jool instance remove nope
    jool instance remove alpha
";

#[test]
fn a_session_with_a_nat64() {
    let Some(scene) = Scene::build("nat64") else { return };
    let _daemon = scene.empty();
    insta::assert_snapshot!("jool_nat64", scene.transcript(NAT64));

    // What was configured holds on the wire, and what traffic made is shown.
    assert!(scene.pings());
    let bib = scene.stdout("jool bib display --icmp --numeric");
    let (mask, client) = bib.trim_end().split_once(" - ").unwrap();
    let identifier = client.strip_prefix("2001:db8::8#").unwrap();
    let mask = mask.strip_prefix("[Dynamic ICMP] ").unwrap();
    assert!(mask.starts_with("203.0.113.2#"), "{bib}");
    let sessions = scene.stdout("jool session display --icmp --numeric");
    let lines: Vec<&str> = sessions.lines().collect();
    assert_eq!(lines.len(), 5, "{sessions}");
    assert!(lines[1].starts_with("Expires in 0:00:5") || lines[1] == "Expires in 0:01:00", "{sessions}");
    let number = mask.rsplit('#').next().unwrap();
    assert_eq!(lines[2], format!("Remote: 203.0.113.16#{number}\t2001:db8::8#{identifier}"));
    assert_eq!(lines[3], format!("Local: {mask}\t64:ff9b::cb00:7110#{identifier}"));
    let stats = scene.stdout("jool stats display");
    assert!(stats.contains("JSTAT_SUCCESS: 2\nJSTAT_BIB_ENTRIES: 1\nJSTAT_SESSIONS: 1\n"), "{stats}");

    // The API under the commands, with filters.
    for (within, rows) in [("2001:db8::8/128", 1), ("203.0.113.0/24", 1), ("198.51.100.0/24", 0)] {
        let url = format!("http://xlat/v1/instances/nat64/default/sessions?protocol=icmp&within={within}");
        let table = scene.t.run(&format!("curl -sf --abstract-unix-socket xlat {url}")).unwrap();
        assert_eq!(table.lines().count(), rows, "{within}: {table}");
    }

    // An entry that traffic made can be removed too, and so can what it uses.
    assert!(scene.run(&format!("jool bib remove --icmp {mask}")).status.success());
    assert_eq!(scene.stdout("jool bib display --icmp"), "");
    assert_eq!(scene.stdout("jool session display --icmp").lines().count(), 1);
    assert!(scene.pings());
    assert!(scene.run("jool pool4 remove 203.0.113.2 --icmp").status.success());
    assert_eq!(scene.stdout("jool bib display --icmp"), "");
    assert!(!scene.pings());
    assert!(scene.run("jool pool4 add 203.0.113.2 0-100 --icmp").status.success());
    assert!(scene.pings());
    assert!(scene.run("jool global update manually-enabled off").status.success());
    assert!(!scene.pings());
    assert!(scene.run("jool instance flush").status.success());
    assert_eq!(scene.stdout("jool instance display --csv"), "Namespace,Name,Framework\n");
}

const SIIT: &str = "
    jool_siit instance add example
    jool_siit -i example eamt display
    jool_siit -i example eamt add 2001:db8:6::/120 198.51.100.0/24
    jool_siit -i example eamt add 192.0.2.0/24 2001:db8:4::/120
    jool_siit -i example eamt add 192.0.2.0/24 2001:db8:4::/120
    jool_siit -i example eamt add 192.0.2.0/24 2001:db8:5::/120
    jool_siit -i example eamt add 192.0.2.5 2001:db8:5::5
    jool_siit -i example eamt add 192.0.2.5 2001:db8:5::5 --force
    jool_siit -i example eamt add 10.0.0.0/8 2001:db8:7::/120
    jool_siit -i example eamt add 10.0.0.1/8 2001:db8:7::/96
    jool_siit -i example eamt display
    jool_siit -i example eamt display --csv
    jool_siit -i example address query 192.0.2.7
    jool_siit -i example address query -v 2001:db8:6::8
    jool_siit -i example address query 203.0.113.77
    jool_siit -i example global update pool6 2001:db8:46::/96
    jool_siit -i example address query --verbose 203.0.113.77
    jool_siit -i example address query 203.0.113.1
    jool_siit -i example address query ::1
    jool_siit -i example denylist4 add 127.0.0.0/8
    jool_siit -i example blacklist4 add 203.0.113.64/26
    jool_siit -i example denylist4 display
    jool_siit -i example address query 203.0.113.77
    jool_siit -i example denylist4 remove 203.0.113.0/24
    jool_siit -i example denylist4 flush
    jool_siit -i example denylist4 display --csv
    jool_siit -i example global update eam-hairpin-mode none
    jool_siit -i example global update eam-hairpin-mode maybe
    jool_siit -i example global update rfc6791v4-prefix 198.51.100.1/24
    jool_siit -i example global update amend yes
    jool_siit -i example global display
    jool_siit -i example eamt remove 192.0.2.5 2001:db8:5::6
    jool_siit -i example eamt remove 192.0.2.5
    jool_siit -i example eamt flush
    jool_siit -i example eamt display --no-headers
    jool_siit instance add second
    jool_siit instance remove example
";

#[test]
fn a_session_with_a_siit() {
    let Some(scene) = Scene::build("siit") else { return };
    let _daemon = scene.empty();
    insta::assert_snapshot!("jool_siit", scene.transcript(SIIT));

    scene.stdout("jool_siit instance add --iptables");
    scene.stdout("jool_siit eamt add 2001:db8::8 198.51.100.8");
    scene.stdout("jool_siit eamt add 203.0.113.16 64:ff9b::10");
    scene.v.ip("route add 198.51.100.0/24 via 203.0.113.1").unwrap();
    scene.v.run("ping -n -c 1 -w 3 198.51.100.8").unwrap();
    scene.a.run("ping -n -c 1 -w 3 64:ff9b::10").unwrap();
    scene.stdout("jool_siit eamt remove 198.51.100.8");
    scene.v.run("ping -n -c 1 -w 1 198.51.100.8").unwrap_err();
}

#[test]
fn a_file_makes_an_instance_replaces_it_or_changes_nothing() {
    let Some(scene) = Scene::build("file") else { return };
    let _daemon = scene.empty();
    let write = |name: &str, content: &str| fs::write(scene.folder.join(name), content).unwrap();
    let file = |rest: &str| format!("{{\"instance\": \"n1\", \"framework\": \"netfilter\", {rest}}}");
    let pool6 = "\"global\": {\"pool6\": \"64:ff9b::/96\"}";
    let pool4 = |prefix: &str| {
        let of = |protocol: &str| format!("{{\"protocol\": \"{protocol}\", \"prefix\": \"{prefix}\"}}");
        format!("\"pool4\": [{}, {}]", of("TCP"), of("ICMP"))
    };
    write("first.json", &file(&format!("{pool6}, {}", pool4("203.0.113.2"))));
    write("second.json", &file(&format!("{pool6}, {}", pool4("203.0.113.3"))));
    write("unknown.json", &file(&format!("{pool6}, \"eamt\": []")));
    write("other6.json", &file("\"global\": {\"pool6\": \"64:ff9b:1::/96\"}, \"pool4\": []"));
    write("framework.json", &file(&format!("{pool6}, \"pool4\": []")).replace("netfilter", "iptables"));
    write("half.json", "{\"instance\": \"n1\", ");
    assert!(scene.run("jool file handle first.json").status.success());
    assert!(scene.pings());
    let masks = || scene.stdout("jool -f first.json pool4 display --csv --no-headers");
    assert_eq!(masks(), "0,TCP,203.0.113.2,61001,65535,1024,0\n");
    for (line, code, says) in [
        ("file handle unknown.json", 22, "eamt"),
        ("file handle other6.json", 22, "Sorry; you can't change a NAT64 instance's pool6 for now."),
        ("file handle framework.json", 22, "Sorry; you can't change an instance's framework for now."),
        ("file handle half.json", 22, "The JSON parser got confused"),
        ("-i n2 file handle first.json", 22, "n2"),
        (
            "file handle missing.json",
            2,
            "Error: Could not open file \"missing.json\": No such file or directory\n",
        ),
    ] {
        let output = scene.run(&format!("jool {line}"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{line}: {said}");
        assert!(said.contains(says), "{line}: {said}");
        assert_eq!(masks(), "0,TCP,203.0.113.2,61001,65535,1024,0\n", "{line}");
    }
    // State that the new file allows goes on: here it does not, so the mapping ends and a new one is made.
    assert!(scene.run("jool file handle second.json").status.success());
    assert_eq!(masks(), "0,TCP,203.0.113.3,61001,65535,1024,0\n");
    assert_eq!(scene.stdout("jool -i n1 bib display --icmp"), "");
    assert!(scene.pings());
    assert!(scene.stdout("jool -i n1 bib display --icmp --numeric").contains("203.0.113.3#"));
}

#[test]
fn only_root_and_the_group_may_ask() {
    let Some(scene) = Scene::build("access") else { return };
    let _daemon = scene.empty();
    // Without root there is no other user to be.
    let mut stranger = scene.t.command("setpriv");
    let stranger = stranger
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups", env!("CARGO_BIN_EXE_xlat")])
        .args(["jool", "instance", "flush"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&stranger.stderr);
    if said.contains("setpriv:") {
        eprintln!("skipped: {said}");
        return;
    }
    assert_eq!(stranger.status.code(), Some(1), "{said}");
    assert!(said.contains("CAP_NET_ADMIN capability required. (Maybe try su or sudo?)"), "{said}");
}

#[test]
fn adding_an_instance_starts_the_daemon() {
    let Some(scene) = Scene::build("start") else { return };
    if fs::create_dir_all("/run/xlat").is_err() {
        eprintln!("skipped: /run cannot be written");
        return;
    }
    assert_eq!(scene.run("jool pool4 display").status.code(), Some(253));
    scene.stdout("jool instance add --netfilter --pool6 64:ff9b::/96");
    let status = scene.t.run("curl -s --abstract-unix-socket xlat http://xlat/v1/status").unwrap();
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    let daemon = Pid::from_raw(status["pid"].as_i64().unwrap().try_into().unwrap()).unwrap();
    for protocol in ["tcp", "udp", "icmp"] {
        scene.stdout(&format!("jool pool4 add 203.0.113.2 1-32767 --{protocol}"));
    }
    let pings = scene.pings();
    // The daemon has no parent that would end it.
    kill_process(daemon, Signal::INT).unwrap();
    let gone = || scene.run("jool instance status").status.code() == Some(253);
    let ended = (0..100).any(|_| {
        gone() || {
            std::thread::sleep(Duration::from_millis(50));
            false
        }
    });
    let namespace = fs::metadata(format!("/proc/{}/ns/net", scene.t.pid())).unwrap().ino();
    fs::remove_file(format!("/run/xlat/{namespace}.log")).unwrap();
    assert!(pings && ended, "pings {pings}, ended {ended}");
}
