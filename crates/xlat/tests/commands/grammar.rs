//! Whole sessions of command lines with what they print and how they end.

use crate::lab::Scene;

const NAT64: &str = "
    instance
    instance add --pool6 64:ff9b::/96
    instance add --nat64
    instance add --nat64 --pool6 64:ff9b::/96
    instance add --nat64 --pool6 64:ff9b::/96
    instance add --nat64 --pool6 2001:db8:64::/96 other --json
    instance
    instance --json --limit 1
    instance status
    -i nope instance status
    -i nope pool4
    -i default pool4 -i other
    pool4
    pool4 add 203.0.113.2
    pool4 add 203.0.113.1
    pool4 add 203.0.113.1 61001-65535 --tcp
    pool4 add 203.0.113.1/24
    pool4 add 203.0.113.5 1-70000
    -i other pool4 add 203.0.113.7 5-9 --udp --mark 7 --max-iterations 3
    pool4
    pool4 display -i other --csv
    pool4 --udp --json
    pool4 --within 203.0.113.0/31
    pool4 --port 61000 --tcp
    pool4 --after x
    bib add 2001:db8::8#80 203.0.113.2#80
    bib add 2001:db8::8#80 --tcp
    bib add 203.0.113.2#80 2001:db8::8#80 --tcp
    bib add 203.0.113.2#80 2001:db8::9#80 --tcp
    bib --within 2001:db8::8
    bib --within 2001:db8::9
    bib --json --port 80
    bib --csv --no-headers --static
    bib --after x
    bib --after nonsense --tcp
    bib remove 203.0.113.2#80 --protocol tcp
    bib remove 203.0.113.2#80 --protocol tcp
    session
    session --json
    global update udp-timeout 0:10:00
    global update udp-timeout 1
    global update udp-timeuot 1
    global update manually-enabled maybe
    global update eam-hairpin-mode off
    global --csv
    global
    eamt
    address query 192.0.2.1
    pool4 remove 203.0.113.2 1-100 --tcp
    pool4 display --tcp --no-headers
    pool4 flush --json
    instance remove other
    instance flush
    instance flush --yes --json
    instance
";

#[test]
fn a_session_with_a_nat64() {
    let Some(scene) = Scene::build("nat64") else { return };
    let _daemon = scene.daemon(None);
    insta::assert_snapshot!("nat64", scene.transcript(NAT64));
}

const SIIT: &str = "
    instance add edge --siit
    eamt
    eamt add 192.0.2.0/24 2001:db8:4::/120
    eamt add 2001:db8:5::5 192.0.2.5
    eamt add 2001:db8:5::5 192.0.2.5 --force
    eamt add 192.0.2.0/24
    eamt add 192.0.2.0/24 198.51.100.0/24
    eamt
    eamt --json
    eamt --within 192.0.2.9
    eamt display --within 2001:db8:5::/48 --no-headers
    eamt --after nonsense
    address query 192.0.2.7
    address query --verbose 2001:db8:4::7
    address query 192.0.2.7 --json
    address query 198.51.100.7
    global update pool6 2001:db8:46::/96
    address query -v 198.51.100.7
    denylist4 add 198.51.100.0/24
    denylist4
    blacklist4 --csv
    denylist4 --within 198.51.100.80
    denylist4 --within 203.0.113.0/24
    address query 198.51.100.7
    denylist4 remove 198.51.100.0/25
    denylist4 remove 198.51.100.0/24
    denylist4 flush
    eamt remove 192.0.2.5
    eamt remove 192.0.2.6
    eamt remove 192.0.2.6 --json
    eamt flush
    eamt flush --yes
    eamt --no-headers
    pool4
    --siit pool4
    bib --siit
    instance remove
    instance remove edge --yes
    i d
";

#[test]
fn a_session_with_a_siit() {
    let Some(scene) = Scene::build("siit") else { return };
    let _daemon = scene.daemon(None);
    insta::assert_snapshot!("siit", scene.transcript(SIIT));
}

/// What a person sees of real traffic, and what keeps it from being ended by mistake.
#[test]
fn traffic_is_seen_and_not_ended_unasked() {
    let Some(scene) = Scene::build("traffic") else { return };
    let _daemon = scene.daemon(None);
    scene.stdout("nat64 --pool4 203.0.113.2");
    assert!(scene.pings());

    let table = scene.stdout("session");
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 2, "{table}");
    assert!(lines[1].starts_with("ICMP") && lines[1].contains(" 203.0.113.16#"), "{table}");
    assert!(lines[1].contains("2001:db8::8#") && lines[1].contains(" 203.0.113.2#"), "{table}");
    for (line, rows) in [
        ("session --icmp --no-headers", 1),
        ("session --tcp --no-headers", 0),
        ("session --json", 1),
        ("session --json --limit 0", 0),
        ("session --no-headers --within 203.0.113.16", 1),
        ("session --no-headers --within 2001:db8:1::/64", 0),
        ("bib --no-headers", 1),
        ("bib --no-headers --static", 0),
        ("bib --no-headers --dynamic", 1),
        ("session --no-headers --state established", 0),
        ("pool4 --no-headers --mark 0 --limit 2", 2),
        ("pool4 --no-headers --mark 1", 0),
    ] {
        assert_eq!(scene.stdout(line).lines().count(), rows, "{line}");
    }
    let row: serde_json::Value = serde_json::from_str(&scene.stdout("session --json")).unwrap();
    assert_eq!(row["remote4"]["address"], "203.0.113.16");
    let stats = scene.stdout("stats --explain");
    let translated = stats.lines().find(|line| line.starts_with("translated")).unwrap();
    assert!(translated.contains("packets translated and sent"), "{stats}");
    assert!(!stats.contains(" 0 "), "{stats}");
    assert!(scene.stdout("stats --all").lines().count() > stats.lines().count());

    // No terminal and no --yes: nothing happens.
    let mask = lines[1].split_whitespace().nth(2).unwrap();
    for line in [
        "instance remove",
        "instance flush",
        "pool4 flush",
        "pool4 remove 203.0.113.2",
        &format!("bib remove {mask} --icmp"),
    ] {
        let (code, said) = scene.refused(line);
        assert_eq!(code, 1, "{line}: {said}");
        assert!(said.contains("would end") || said.contains("this ends"), "{line}: {said}");
        assert!(said.contains("add --yes"), "{line}: {said}");
    }
    // What carries nothing may go.
    scene.stdout("pool4 remove 203.0.113.2 --tcp");
    assert_eq!(scene.stdout("session --no-headers").lines().count(), 1);

    // On a terminal the question is asked: no answer is no.
    let said = scene.on_terminal("pool4 flush", "n\n");
    assert!(said.contains("has 1 sessions, which would end. Go on? [y/N]"), "{said}");
    assert!(said.contains("nothing has changed"), "{said}");
    assert_eq!(scene.stdout("session --no-headers").lines().count(), 1);
    scene.on_terminal("pool4 flush", "y\n");
    assert_eq!(scene.stdout("session --no-headers"), "");
    assert_eq!(scene.stdout("pool4 --no-headers"), "");
}

/// The end of everything is asked about on a terminal only: scripts have always said `--flush` and meant it.
#[test]
fn everything_is_ended_when_it_is_meant() {
    let Some(scene) = Scene::build("ending") else { return };
    let state = scene.folder.join("state");
    let stop = format!("stop --state-dir {}", state.display());
    let mut daemon = scene.daemon(None);
    scene.stdout("nat64 --pool4 203.0.113.2");
    assert!(scene.pings());
    let live: serde_json::Value = serde_json::from_str(&scene.stdout("top --once --json")).unwrap();
    assert!(live["kernel"].is_object() && live["pool4"][0]["address"] == "203.0.113.2", "{live}");
    let said = scene.on_terminal(&format!("{stop} --flush"), "n\n");
    assert!(said.contains("this ends the translator that runs here") && said.contains("[y/N]"), "{said}");
    assert!(said.contains("nothing has changed") && daemon.0.is_running(), "{said}");
    // What goes on without a daemon is no less worth a question.
    let done: serde_json::Value = serde_json::from_str(&scene.stdout(&format!("{stop} --json"))).unwrap();
    assert!(done["ended"].is_number() && done["kernel-flushed"] == false, "{done}");
    let said = scene.on_terminal(&format!("{stop} --flush"), "\n");
    assert!(said.contains("flows that go on in the kernel"), "{said}");
    // It ends with 3: no daemon.
    let status = String::from_utf8(scene.run("status").stdout).unwrap();
    assert!(status.contains("known flows go on"), "{status}");
    let done: serde_json::Value =
        serde_json::from_str(&scene.stdout(&format!("{stop} --flush --json"))).unwrap();
    assert!(done["ended"].is_null() && done["kernel-flushed"] == true, "{done}");
    // Where nothing is translated nothing is asked.
    let said = scene.on_terminal(&format!("{stop} --flush"), "");
    assert!(!said.contains("[y/N]"), "{said}");
}

#[test]
fn colours_only_where_they_are_wanted() {
    let Some(scene) = Scene::build("colours") else { return };
    let _daemon = scene.daemon(None);
    scene.stdout("nat64 --pool4 203.0.113.2");
    assert!(!scene.stdout("pool4").contains('\x1b'));
    assert!(scene.on_terminal("pool4", "").contains("\x1b[1mProtocol"));
    let command = format!("NO_COLOR=1 {} pool4", crate::lab::XLAT);
    let mut plain = scene.t.command("script");
    let output = plain.args(["--quiet", "--command", &command, "/dev/null"]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("Protocol") && !said.contains('\x1b'), "{said:?}");
}

#[test]
fn watching_shows_what_changes() {
    let Some(scene) = Scene::build("watch") else { return };
    let _daemon = scene.daemon(None);
    scene.stdout("nat64 --pool4 203.0.113.2");
    let mut command = scene.t.command(crate::lab::XLAT);
    command.args(["pool4", "--tcp", "--no-headers", "--watch", "0.2"]);
    let mut watcher = xlat_netlab::Background::start(&scene.t, "watcher", command).unwrap();
    watcher.wait_for("203.0.113.2", crate::lab::LIMIT).unwrap();
    scene.stdout("pool4 add 203.0.113.3");
    watcher.wait_for("203.0.113.3", crate::lab::LIMIT).unwrap();
}
