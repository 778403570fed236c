//! A translator in one command.

use std::fs;
use std::process::{Child, Stdio};

use xlat_netlab::Background;

use crate::lab::{Daemon, LIMIT, Scene, XLAT};

#[test]
fn one_command_translates() {
    let Some(scene) = Scene::build("quick") else { return };
    if fs::create_dir_all("/run/xlat").is_err() {
        eprintln!("skipped: /run cannot be written");
        return;
    }
    assert!(!scene.pings());
    // What it says is for people: nothing for scripts.
    let output = scene.run("nat64 --pool6 64:ff9b::/96 --pool4 203.0.113.2");
    let says = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && output.stdout.is_empty(), "{says}");
    for part in ["clients reach IPv4 at 64:ff9b::/96 and share 203.0.113.2", "`xlat stop` ends all"] {
        assert!(says.contains(part), "{says}");
    }
    let pings = scene.pings();
    // Once more is refused, another name is not.
    let (code, said) = scene.refused("nat64 --pool4 203.0.113.3");
    assert!(code == 1 && said.contains("there is a NAT64 instance named 'default' already"), "{said}");
    scene.stdout("nat64 --name other --pool6 2001:db8:64::/96 --pool4 203.0.113.3:100-200,203.0.113.4");
    let other = scene.stdout("pool4 -i other --csv --no-headers --udp");
    // SIIT beside it, both ways round.
    scene.stdout("siit --name edge --eam 198.51.100.8=2001:db8::8,2001:db8::16=192.0.2.16");
    let mappings = scene.stdout("eamt --csv --no-headers");
    scene.end_started();
    assert!(pings);
    assert_eq!(other, "UDP,0,203.0.113.3,100-200\nUDP,0,203.0.113.4,1-65535\n");
    assert_eq!(mappings, "192.0.2.16/32,2001:db8::16/128\n198.51.100.8/32,2001:db8::8/128\n");
}

#[test]
fn of_many_at_once_one_starts_the_daemon() {
    let Some(scene) = Scene::build("race") else { return };
    if fs::create_dir_all("/run/xlat").is_err() {
        eprintln!("skipped: /run cannot be written");
        return;
    }
    let start = |number: u32| {
        let mut command = scene.t.command(XLAT);
        command.args([
            "nat64",
            "--name",
            &format!("n{number}"),
            "--pool6",
            &format!("2001:db8:{number}::/96"),
        ]);
        command.args(["--pool4", &format!("203.0.113.{number}")]).stderr(Stdio::piped()).spawn().unwrap()
    };
    let all: Vec<Child> = (100..140).map(start).collect();
    let outcomes: Vec<_> = all.into_iter().map(|one| one.wait_with_output().unwrap()).collect();
    let status = scene.stdout("status");
    scene.end_started();
    for outcome in outcomes {
        // Two may both believe to be the first instance: that is told, and harms nobody.
        let said = String::from_utf8_lossy(&outcome.stderr);
        assert!(outcome.status.success() || said.contains("of the framework netfilter already"), "{said}");
    }
    // Whoever comes too late to be the daemon must not have taken the kernel's part meanwhile.
    assert!(!status.contains("belongs to another daemon"), "{status}");
}

#[test]
fn in_the_foreground() {
    let Some(scene) = Scene::build("foreground") else { return };
    let mut command = scene.t.command(XLAT);
    command.args(["nat64", "--foreground", "--pool4", "203.0.113.2", "--name", "front"]);
    let mut xlat = Background::start(&scene.t, "xlat", command).unwrap();
    xlat.wait_for("xlat is ready", LIMIT).unwrap();
    let _daemon = Daemon(xlat);
    assert!(scene.pings());
    assert!(scene.stdout("instance").contains("front"));
}

#[test]
fn an_address_of_this_host_is_shared() {
    let Some(scene) = Scene::build("shared") else { return };
    let print = scene.stdout("nat64 --pool4 203.0.113.1 --print");
    assert!(print.contains("port-range = \"61001-65535\""), "{print}");
    let print = scene.stdout("nat64 --pool4 203.0.113.1:80 --pool4 203.0.113.2 --print");
    assert!(print.contains("\"80-80\"") && print.contains("\"203.0.113.2/32\""), "{print}");
}

#[test]
fn what_cannot_be_is_refused_before_anything_starts() {
    let Some(scene) = Scene::build("refused") else { return };
    for (line, says) in [
        ("nat64 --pool6 64:ff9b::/95 --pool4 203.0.113.2", "95 is not a valid"),
        ("nat64 --pool6 64:ff9b::1/96", "64:ff9b::/96"),
        ("nat64 --pool4 203.0.113.1/24", "203.0.113.0/24"),
        ("nat64 --pool4 203.0.113.2:0-65536", "65536"),
        ("nat64 --pool4 2001:db8::1", "IPv4"),
        ("nat64 --pool4 203.0.113.2 --name name-that-is-too-long", "15"),
        ("siit", "--pool6"),
        ("siit --eam 192.0.2.0/24=2001:db8::/121", "suffix"),
        ("siit --eam 192.0.2.1=2001:db8::1,192.0.2.1=2001:db8::2", "192.0.2.1"),
    ] {
        let (_, said) = scene.refused(line);
        assert!(said.contains(says), "{line}: {said}");
    }
    assert_eq!(scene.run("instance").status.code(), Some(3));
}
