//! What commands configure holds on the wire, and what traffic makes is shown and can be removed.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use rustix::process::{Pid, Signal, kill_process};

use crate::lab::{Scene, eventually};

#[test]
fn what_is_configured_holds_and_what_traffic_makes_is_shown() {
    let Some(scene) = Scene::build("wire") else { return };
    let _daemon = scene.daemon();
    scene.stdout("jool instance add --pool6 64:ff9b::/96\njool pool4 add 203.0.113.2 1-65535 --icmp");
    // Something is left in pool4 all the time: an empty one would stand for addresses of the host.
    scene.stdout("jool pool4 add 203.0.113.2 80 --tcp");
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
    let csv = scene.stdout("jool session display --icmp --csv --no-headers");
    let row = format!(
        "ICMP,2001:db8::8,{identifier},64:ff9b::cb00:7110,{identifier},203.0.113.2,{number},203.0.113.16,{number},0:0"
    );
    assert!(csv.starts_with(&row) && csv.trim_end().split(',').count() == 10, "{csv}");
    let stats = scene.stdout("jool stats display");
    assert!(stats.contains("JSTAT_SUCCESS: 2\nJSTAT_BIB_ENTRIES: 1\nJSTAT_SESSIONS: 1\n"), "{stats}");

    // An entry that traffic made can be made static, and removed, and so can what it uses.
    scene.stdout(&format!("jool bib add --icmp {mask} 2001:db8::8#{identifier}"));
    let bib = scene.stdout("jool bib display --icmp --numeric");
    assert_eq!(bib, format!("[Static ICMP] {mask} - 2001:db8::8#{identifier}\n"));
    scene.stdout(&format!("jool bib remove --icmp {mask}"));
    assert_eq!(scene.stdout("jool bib display --icmp"), "");
    assert_eq!(scene.stdout("jool session display --icmp").lines().count(), 1);
    assert!(scene.pings());
    scene.stdout("jool pool4 remove 203.0.113.2 --icmp");
    assert_eq!(scene.stdout("jool bib display --icmp"), "");
    assert!(!scene.pings());
    scene.stdout("jool pool4 add 203.0.113.2 0-100 --icmp");
    assert!(scene.pings());
    scene.stdout("jool global update manually-enabled off");
    assert!(!scene.pings());
    scene.stdout("jool instance flush");
    assert_eq!(scene.stdout("jool instance display --csv"), "Namespace,Name,Framework\n");
}

/// A TCP session with its state: that row has one field more.
#[test]
fn sessions_of_tcp_have_a_state() {
    let Some(scene) = Scene::build("tcp") else { return };
    let _daemon = scene.daemon();
    scene.stdout("jool instance add --pool6 64:ff9b::/96\njool pool4 add 203.0.113.2 1000 --tcp");
    // Nobody listens there: the session ends in TRANS by the reset, or stays in V6_INIT.
    scene.a.run("curl -s -m 2 http://[64:ff9b::cb00:7110]:9").unwrap_err();
    let csv = scene.stdout("jool session display --csv --no-headers");
    let fields: Vec<&str> = csv.trim_end().split(',').collect();
    assert_eq!((fields.len(), fields[5], fields[6]), (11, "203.0.113.2", "1000"), "{csv}");
    assert!(["TRANS", "V6_INIT"].contains(&fields[10]), "{csv}");
    let human = scene.stdout("jool session display --numeric");
    assert!(human.contains(&format!("\n({}) Expires in 0:0", fields[10])), "{human}");
}

#[test]
fn a_stateless_translator_follows_its_table() {
    let Some(scene) = Scene::build("eam") else { return };
    let _daemon = scene.daemon();
    scene.stdout("jool_siit instance add --iptables");
    scene.stdout("jool_siit eamt add 2001:db8::8 198.51.100.8");
    scene.stdout("jool_siit eamt add 203.0.113.16 64:ff9b::10");
    scene.v.ip("route add 198.51.100.0/24 via 203.0.113.1").unwrap();
    scene.v.run("ping -n -c 1 -w 3 198.51.100.8").unwrap();
    scene.a.run("ping -n -c 1 -w 3 64:ff9b::10").unwrap();
    scene.stdout("jool_siit eamt remove 198.51.100.8");
    scene.v.run("ping -n -c 1 -w 1 198.51.100.8").unwrap_err();
}

/// Nodes and services by name: the host's own files decide, here those of a mount namespace.
#[test]
fn clients_are_shown_by_name() {
    let Some(scene) = Scene::build("names") else { return };
    let _daemon = scene.daemon();
    scene.stdout(
        "jool instance add --pool6 64:ff9b::/96
        jool pool4 add 192.0.2.4 1234 --tcp
        jool pool4 add 192.0.2.4 1234 --udp
        jool pool4 add 192.0.2.4 1234 --icmp
        jool bib add 192.0.2.4#1234 2001:db8::6#1234 --tcp
        jool bib add 192.0.2.4#1234 2001:db8::6#1234 --udp
        jool bib add 192.0.2.4#1234 2001:db8::6#1234 --icmp
        echo '2001:db8::6 potato.example' > hosts
        echo 'hosts: files' > nsswitch.conf
        echo 'services: files' >> nsswitch.conf
        printf 'stream 1234/tcp\\ndatagram 1234/udp\\n' > services",
    );
    let named = |line: &str| {
        let files = "mount -t tmpfs none /etc && cp hosts nsswitch.conf services /etc";
        scene.run(&format!("unshare --mount sh -c '{files} && {line}'"))
    };
    let first = named("true");
    if !first.status.success() {
        eprintln!("skipped: {}", String::from_utf8_lossy(&first.stderr));
        return;
    }
    for (protocol, shown) in [
        ("TCP", "potato.example#stream"),
        ("UDP", "potato.example#datagram"),
        ("ICMP", "potato.example#1234"),
    ] {
        let line = format!("jool bib display --{}", protocol.to_lowercase());
        let text = String::from_utf8(named(&line).stdout).unwrap();
        assert_eq!(text, format!("[Static {protocol}] 192.0.2.4#1234 - {shown}\n"));
        let numbers = format!("[Static {protocol}] 192.0.2.4#1234 - 2001:db8::6#1234\n");
        assert_eq!(String::from_utf8(named(&format!("{line} --numeric")).stdout).unwrap(), numbers);
    }
}

/// An SIIT and a NAT64 that are both called `default`, one beside the other.
#[test]
fn two_kinds_of_one_name_translate_side_by_side() {
    let Some(scene) = Scene::build("beside") else { return };
    let _daemon = scene.daemon();
    scene.stdout("jool_siit instance add\njool_siit eamt add 198.51.100.8 2001:db8::8");
    scene.stdout("jool_siit eamt add 203.0.113.16 2001:db8:4::16");
    scene.stdout("jool instance add --pool6 64:ff9b::/96\njool pool4 add 203.0.113.2 0-65535 --icmp");
    scene.v.ip("route add 198.51.100.0/24 via 203.0.113.1").unwrap();
    scene.a.ip("route add 2001:db8:4::/64 via 2001:db8::1").unwrap();
    assert!(scene.pings());
    scene.a.run("ping -n -c 1 -w 3 2001:db8:4::16").unwrap();
    scene.v.run("ping -n -c 1 -w 3 198.51.100.8").unwrap();
    assert_eq!(scene.stdout("jool bib display --icmp --csv --no-headers").lines().count(), 1);
    scene.stdout("jool_siit instance remove");
    assert!(scene.pings());
    scene.a.run("ping -n -c 1 -w 1 2001:db8:4::16").unwrap_err();
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
    eventually("the daemon's end", || scene.run("jool instance status").status.code() == Some(253));
    let namespace = fs::metadata(format!("/proc/{}/ns/net", scene.t.pid())).unwrap().ino();
    fs::remove_file(format!("/run/xlat/{namespace}.log")).unwrap();
    assert!(pings);
}
