//! What must not be taken: each with the right words and exit code, and nothing is changed by it.

use crate::lab::Scene;

/// Everything that the instances have, as one text.
fn everything(scene: &Scene) -> String {
    let tables = "
        jool instance display --csv
        jool_siit instance display --csv
        jool global display --csv
        jool_siit global display --csv
        jool pool4 display --tcp --csv
        jool pool4 display --udp --csv
        jool pool4 display --icmp --csv
        jool bib display --tcp --csv
        jool bib display --icmp --csv
        jool_siit eamt display --csv
        jool_siit denylist4 display --csv";
    scene.stdout(tables)
}

#[test]
fn what_is_refused_changes_nothing() {
    let Some(scene) = Scene::build("refused") else { return };
    let _daemon = scene.daemon();
    scene.stdout(
        "jool instance add --pool6 64:ff9b::/96
        jool pool4 add 192.0.2.1 80-90 --tcp
        jool pool4 add 192.0.2.1 80-90 --tcp --mark 7
        jool bib add 192.0.2.1#80 2001:db8::8#80
        jool_siit instance add
        jool_siit eamt add 198.51.100.0/24 2001:db8:6::/120
        jool_siit denylist4 add 198.51.100.7",
    );
    let before = everything(&scene);
    const ENGINE: &str = "Error: The kernel module returned error";
    for (line, code, said) in [
        // An instance that is not there.
        (
            "jool -i nope pool4 add 192.0.2.2 80 --tcp",
            3,
            format!("{ENGINE} 3: This namespace lacks an instance named 'nope'.\n"),
        ),
        ("jool instance remove nope", 3, format!("{ENGINE} 3: The requested instance does not exist.\n")),
        // What is there already.
        (
            "jool instance add --pool6 64:ff9b:1::/96",
            17,
            format!("{ENGINE} 17: This namespace already has a Jool instance named 'default'.\n"),
        ),
        (
            "jool_siit instance add",
            17,
            format!("{ENGINE} 17: This namespace already has a Jool instance named 'default'.\n"),
        ),
        (
            "jool instance add second --pool6 64:ff9b:1::/96",
            17,
            format!("{ENGINE} 17: This namespace already has a Netfilter Jool instance.\n"),
        ),
        (
            "jool_siit eamt add 198.51.100.0/24 2001:db8:6::/120",
            17,
            format!("{ENGINE} 17: The requested entry already exists.\n"),
        ),
        (
            "jool bib add 192.0.2.1#80 2001:db8::9#80",
            17,
            format!(
                "{ENGINE} 17: Entry [2001:db8::9#80, 192.0.2.1#80, TCP] collides with [2001:db8::8#80, 192.0.2.1#80, TCP].\n"
            ),
        ),
        // What overlaps.
        (
            "jool_siit eamt add 198.51.100.5 2001:db8:7::",
            17,
            format!(
                "{ENGINE} 17: Prefix 198.51.100.5/32 overlaps with EAM [2001:db8:6::/120|198.51.100.0/24].\n(Use --force to override this validation.)\n"
            ),
        ),
        // Ports that do not exist, or have no mark's pool.
        (
            "jool pool4 add 192.0.2.1 65530-65536 --tcp",
            234,
            "Error: '65536' is out of bounds (0-65535).\n".to_owned(),
        ),
        (
            "jool bib add 192.0.2.1#65536 2001:db8::9#80",
            234,
            "Error: '65536' is out of bounds (0-65535).\n".to_owned(),
        ),
        (
            "jool bib add 192.0.2.1#91 2001:db8::9#80",
            22,
            format!(
                "{ENGINE} 22: Transport address '192.0.2.1#91' does not belong to pool4.\nPlease add it there first.\n"
            ),
        ),
        // Half a JSON.
        (
            "printf '{\"instance\": ' > half; jool file handle half",
            234,
            "Error: The JSON parser got confused around the beginning of this string:".to_owned(),
        ),
        // It is not read to its end.
        (
            "truncate --size 1G big; jool file handle big",
            249,
            "Error: The file \"big\" has more than 268435456 bytes.\n".to_owned(),
        ),
        ("jool_siit -f big instance remove", 249, "Error: The file \"big\" has more than".to_owned()),
        (
            "printf '{\"instance\": ' > half; jool_siit -f half instance remove",
            234,
            "Error: half: this is not JSON\n".to_owned(),
        ),
    ] {
        let (exit, says) = scene.refusal(line);
        assert_eq!(exit, code, "{line}: {says}");
        assert!(says.starts_with(&said), "{line}: {says}");
        assert_eq!(everything(&scene), before, "{line}");
    }
    // A mark that no pool4 has: nothing to remove is no error, as with Jool.
    scene.stdout("jool pool4 remove 192.0.2.1 --mark 99 --quick");
    assert_eq!(everything(&scene), before);
}

/// Two instances cannot have one port of an address, nor two NAT64s one pool6: there are no rules that would say whose a packet is.
#[test]
fn two_instances_cannot_have_the_same() {
    let Some(scene) = Scene::build("claims") else { return };
    let _daemon = scene.daemon();
    scene.stdout(
        "jool instance add --iptables --pool6 64:ff9b::/96
        jool instance add b --iptables --pool6 64:ff9b:1::/96
        jool pool4 add 192.0.2.1 80-90 --tcp
        jool -i b pool4 add 192.0.2.1 91-95 --tcp",
    );
    let tables = "jool instance display --csv; jool -i b pool4 display --csv; jool pool4 display --csv";
    let before = scene.stdout(tables);
    for (line, says) in [
        ("jool -i b pool4 add 192.0.2.0/24 90 --tcp", "overlap with pool4 of instance '"),
        ("jool instance add c --iptables --pool6 64:ff9b::/96", "have the same pool6"),
    ] {
        let (exit, said) = scene.refusal(line);
        assert!(exit == 22 && said.contains(says), "{line}: {exit} {said}");
        assert_eq!(scene.stdout(tables), before, "{line}");
    }
    assert_eq!(scene.stdout("jool -i b pool4 display --csv --no-headers"), "0,TCP,192.0.2.1,91,95,1024,0\n");
}

#[test]
fn without_permission_there_is_nothing_but_statistics() {
    let Some(scene) = Scene::build("access") else { return };
    let _daemon = scene.daemon();
    scene.stdout("jool instance add --pool6 64:ff9b::/96");
    let before = everything_of_nat64(&scene);
    let stranger = "setpriv --reuid 65534 --regid 65534 --clear-groups";
    let first = scene.run(&format!("{stranger} true"));
    if !first.status.success() {
        // Without root there is no other user to be.
        eprintln!("skipped: {}", String::from_utf8_lossy(&first.stderr));
        return;
    }
    // The program itself, which a test's folder may hide from strangers.
    let program = scene.folder.path().join("bin/jool");
    let seen = scene.run(&format!("{stranger} test -x {}", program.display()));
    if !seen.status.success() {
        eprintln!("skipped: other users cannot run {}", program.display());
        return;
    }
    for operation in [
        "instance display",
        "instance add b --iptables --pool6 64:ff9b:1::/96",
        "instance remove",
        "instance flush",
        "global display",
        "global update tos 1",
        "pool4 display",
        "pool4 add 192.0.2.1 80 --tcp",
        "pool4 flush",
        "bib display",
        "session display",
    ] {
        let (exit, said) = scene.refusal(&format!("{stranger} jool {operation}"));
        assert_eq!(exit, 1, "{operation}: {said}");
        assert!(
            said.contains("CAP_NET_ADMIN capability required. (Maybe try su or sudo?)"),
            "{operation}: {said}"
        );
    }
    let status = scene.run(&format!("{stranger} jool instance status"));
    assert_eq!((status.status.code(), status.stdout.as_slice()), (Some(1), &b"Status unknown\n"[..]));
    assert_eq!(everything_of_nat64(&scene), before);
    scene.stdout(&format!("{stranger} jool stats display --all"));
}

fn everything_of_nat64(scene: &Scene) -> String {
    scene.stdout("jool instance display --csv\njool global display --csv\njool pool4 display --csv")
}
