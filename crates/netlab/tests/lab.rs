//! The laboratory itself: nodes reach each other, nothing is left behind.

use std::path::PathBuf;
use std::time::Duration;

use xlat_netlab::{Background, Namespace, Wire, unavailable, veth};

/// True, with a message, where no namespaces can be made.
fn skipped() -> bool {
    let reason = unavailable();
    if let Some(reason) = &reason {
        eprintln!("skipped: {reason}");
    }
    reason.is_some()
}

#[test]
fn three_nodes_on_one_wire() {
    if skipped() {
        return;
    }
    let (wire, a, b) = (Wire::new().unwrap(), Namespace::new("A").unwrap(), Namespace::new("B").unwrap());
    for (node, last) in [(&a, 1), (&b, 2)] {
        wire.attach(node, "eth0").unwrap();
        node.address("eth0", &format!("192.0.2.{last}/24")).unwrap();
        node.address("eth0", &format!("2001:db8::{last}/64")).unwrap();
    }
    a.run("ping -c 1 -w 5 192.0.2.2").unwrap();
    b.run("ping -c 1 -w 5 2001:db8::1").unwrap();
    assert!(a.run("ping -c 1 -w 1 192.0.2.3").is_err());
}

#[test]
fn a_cable_and_a_process_end_with_their_values() {
    if skipped() {
        return;
    }
    let (a, b) = (Namespace::new("A").unwrap(), Namespace::new("B").unwrap());
    veth(&a, "left", &b, "right").unwrap();
    a.address("left", "192.0.2.1/24").unwrap();
    b.address("right", "192.0.2.2/24").unwrap();
    let mut ping = Background::start(&a, "ping", a.line("ping -c 100 -i 0.2 192.0.2.2")).unwrap();
    ping.wait_for("from 192.0.2.2", Duration::from_secs(5)).unwrap();
    assert!(ping.is_running());
    let folders = [ping.pid(), a.pid(), b.pid()].map(|pid| PathBuf::from(format!("/proc/{pid}")));
    assert!(folders.iter().all(|folder| folder.exists()));
    drop((ping, a, b));
    assert!(folders.iter().all(|folder| !folder.exists()));
}

#[test]
fn failures_say_what_and_where() {
    if skipped() {
        return;
    }
    let a = Namespace::new("A").unwrap();
    let error = a.ip("link set eth7 up").unwrap_err().to_string();
    assert!(error.starts_with("A: `ip link set eth7 up` failed: Cannot find device"), "{error}");
    let mut done = Background::start(&a, "echo", a.line("echo hello")).unwrap();
    let error = done.wait_for("goodbye", Duration::from_secs(5)).unwrap_err().to_string();
    assert!(error.contains("ended before it said \"goodbye\"") && error.contains("hello"), "{error}");
}
