//! The demo as people run it: as root, and without root in a user namespace.
#![allow(clippy::unwrap_used, reason = "a test's helpers")]

use std::fs;
use std::process::{Command, Output};

/// True, with a message, where there can be no namespaces or no TUN device at all.
fn skipped() -> bool {
    let opened = fs::File::options().read(true).write(true).open("/dev/net/tun");
    let no_tun = || opened.err().map(|error| format!("/dev/net/tun: {error}"));
    let reason = xlat_netlab::unavailable().or_else(no_tun);
    if let Some(reason) = &reason {
        eprintln!("skipped: {reason}");
    }
    reason.is_some()
}

fn assert_played(output: &Output) {
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}{errors}");
    assert!(text.contains("steps went well.") && !text.contains("FAILED"), "{text}{errors}");
}

#[test]
fn nat64() {
    if skipped() {
        return;
    }
    let output = Command::new(env!("CARGO_BIN_EXE_xlat")).args(["demo", "--bytes", "50M"]).output().unwrap();
    assert_played(&output);
    assert!(String::from_utf8_lossy(&output.stdout).contains("3 of 3 answered, hop limit 63"));
}

#[test]
fn siit() {
    if skipped() {
        return;
    }
    let output =
        Command::new(env!("CARGO_BIN_EXE_xlat")).args(["demo", "siit", "--bytes", "20M"]).output().unwrap();
    assert_played(&output);
}

/// For programs: an object for each step, the sum last.
#[test]
fn objects_only() {
    if skipped() {
        return;
    }
    let output = Command::new(env!("CARGO_BIN_EXE_xlat"))
        .args(["demo", "siit", "--bytes", "1M", "--json"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let said: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let steps: Vec<_> = said.iter().filter(|one| one["step"].is_string()).collect();
    assert!(output.status.success() && steps.iter().all(|one| one["ok"] == true), "{text}");
    assert_eq!(*said.last().unwrap(), serde_json::json!({ "steps": steps.len(), "failed": 0 }));
    assert!(steps.len() > 8 && said[0]["scene"].is_string(), "{text}");
}

/// As the user nobody, who may open /dev/net/tun as on most systems.
#[test]
fn without_root() {
    if skipped() {
        return;
    }
    let folder = std::env::temp_dir().join(format!("xlat-unprivileged-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    // Where it was built nobody may be able to read it.
    let program = folder.join("xlat");
    fs::copy(env!("CARGO_BIN_EXE_xlat"), &program).unwrap();
    let script = "mount -t tmpfs tmpfs /dev/net && mknod -m 666 /dev/net/tun c 10 200 && \
                  exec setpriv --reuid 65534 --regid 65534 --clear-groups --bounding-set=-all --inh-caps=-all \
                  \"$0\" demo --bytes 20M";
    let output =
        Command::new("unshare").args(["--mount", "sh", "-c", script]).arg(&program).output().unwrap();
    fs::remove_dir_all(&folder).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    if errors.contains("mount:") || errors.contains("mknod:") {
        eprintln!("skipped: becoming another user here takes more privilege than there is: {errors}");
    } else if errors.contains("gives no user namespaces")
        || errors.contains("cannot make a network namespace")
    {
        eprintln!("skipped: {errors}");
    } else {
        assert_played(&output);
    }
}

#[test]
fn a_scene_that_fails_says_so() {
    if skipped() {
        return;
    }
    // In this mount namespace there is no TUN driver, so xlat cannot start.
    let script = "mount -t tmpfs tmpfs /dev/net && exec \"$0\" demo --bytes 1M";
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script, env!("CARGO_BIN_EXE_xlat")])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    if errors.contains("mount:") {
        eprintln!("skipped: {errors}");
        return;
    }
    assert!(!output.status.success());
    assert!(errors.contains("there is no /dev/net/tun"), "{errors}");
}
