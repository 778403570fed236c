//! Configurations from and into files.

use std::fs;

use crate::lab::Scene;

pub(crate) const JOOL: &str = r#"{
    "instance": "office", "framework": "netfilter",
    "global": {"pool6": "64:ff9b::/96", "udp-timeout": "0:10:00"},
    "pool4": [
        {"protocol": "TCP", "prefix": "203.0.113.2", "port range": "1-32767"},
        {"protocol": "UDP", "prefix": "203.0.113.2", "port range": "1-32767"}
    ],
    "bib": [{"protocol": "TCP", "ipv6 address": "2001:db8::8#80", "ipv4 address": "203.0.113.2#80"}]
}"#;

const JOOL_SIIT: &str = r#"{
    "instance": "edge", "framework": "iptables",
    "eamt": [{"ipv6 prefix": "2001:db8:4::/120", "ipv4 prefix": "192.0.2.0/24"}]
}"#;

#[test]
fn what_jool_had_becomes_ours() {
    let Some(scene) = Scene::build("import") else { return };
    fs::write(scene.folder.join("nat64.json"), JOOL).unwrap();
    fs::write(scene.folder.join("siit.json"), JOOL_SIIT).unwrap();
    fs::write(scene.folder.join("half.json"), &JOOL[..100]).unwrap();
    // What the package brings.
    fs::write(scene.folder.join("xlat.toml"), "# Every line a comment.\n").unwrap();
    insta::assert_snapshot!(
        "import",
        scene.transcript(
            "import jool nat64.json
             import jool nat64.json siit.json --output xlat.toml
             import jool nat64.json --output xlat.toml
             import jool nat64.json nat64.json
             import jool nat64.json -i home
             import jool half.json
             import jool missing.json
             file check nat64.json
             file check half.json
             check --no-host xlat.toml"
        )
    );
    let both = fs::read_to_string(scene.folder.join("xlat.toml")).unwrap();
    let _daemon = scene.daemon(Some(&both));
    assert_eq!(scene.stdout("instance --csv --no-headers"), "office,NAT64\nedge,SIIT\n");
    assert_eq!(scene.stdout("bib --no-headers --tcp").lines().count(), 1);
}

#[test]
fn who_was_started_by_a_command_has_no_file() {
    let Some(scene) = Scene::build("nofile") else { return };
    let _daemon = scene.daemon(None);
    let (code, said) = scene.refused("reload");
    assert!(code == 1 && said.contains("has no file to read"), "{said}");
}

#[test]
fn static_entries_do_not_end_unasked_with_their_pool4() {
    let Some(scene) = Scene::build("static") else { return };
    let _daemon = scene.daemon(Some(FILE));
    scene.stdout("bib add 203.0.113.2#80 2001:db8::8#80 --tcp");
    let (code, said) = scene.refused("pool4 remove 203.0.113.2");
    assert!(code == 1 && said.contains("static"), "{said}");
    scene.stdout("pool4 remove 203.0.113.2 --yes");
}

const FILE: &str = "[[instance]]
name = \"default\"
type = \"nat64\"
pool4 = [\"203.0.113.2/32\"]

[instance.global]
pool6 = \"64:ff9b::/96\"
";

#[test]
fn what_is_in_force_and_what_a_file_would_change() {
    let Some(scene) = Scene::build("diff") else { return };
    let _daemon = scene.daemon(Some(FILE));
    assert_eq!(scene.stdout("export"), FILE);
    assert_eq!(scene.stdout("diff xlat.toml"), "");

    assert!(scene.stdout("status").contains("configuration as in "));
    scene.stdout("global update udp-timeout 0:10:00");
    assert!(scene.stdout("status").contains("configuration not as in "));
    scene.stdout("pool4 add 203.0.113.3 --tcp");
    scene.stdout("siit --eam 198.51.100.8=2001:db8::8 --name edge");
    let exported = scene.stdout("export");
    insta::assert_snapshot!("export", exported);
    insta::assert_snapshot!(
        "diff",
        scene.transcript(
            "diff xlat.toml
             diff xlat.toml --json
             diff missing.toml
             export -i edge
             export -i nope
             export -i edge --json"
        )
    );
    fs::write(scene.folder.join("exported.toml"), &exported).unwrap();
    assert_eq!(scene.stdout("diff exported.toml"), "");

    // The file stands until it is read again; one with errors changes nothing.
    fs::write(scene.folder.join("xlat.toml"), FILE.replace("203.0.113.2", "203.0.113.300")).unwrap();
    let (code, said) = scene.refused("reload");
    assert!(code == 1 && said.contains("203.0.113.300"), "{said}");
    assert_eq!(scene.stdout("export"), exported);
    fs::write(scene.folder.join("xlat.toml"), FILE).unwrap();
    scene.stdout("reload");
    assert_eq!(scene.stdout("export"), FILE);
}

#[test]
fn the_running_daemon_explains_by_its_state() {
    let Some(scene) = Scene::build("explain") else { return };
    let _daemon = scene.daemon(Some(FILE));
    let explained = scene.stdout("explain 2001:db8::8 64:ff9b::203.0.113.16 tcp 443");
    assert!(explained.starts_with("TCP SYN from 2001:db8::8#40000 to 64:ff9b::cb00:7110#443"), "{explained}");
    assert!(explained.contains("asked the daemon") && explained.contains("[RFC 6146"), "{explained}");
    assert!(explained.contains("=> translated"), "{explained}");
    // From outside nothing comes in until the entry is there: state, which no file has.
    let inward = "explain 203.0.113.16 203.0.113.2 tcp 50000 80";
    assert!(!scene.stdout(inward).contains("2001:db8::8"));
    scene.stdout("bib add 2001:db8::8#80 203.0.113.2#80 --tcp");
    assert!(scene.stdout(inward).contains("2001:db8::8"));
    let object: serde_json::Value = serde_json::from_str(&scene.stdout(&format!("{inward} --json"))).unwrap();
    assert_eq!(object["verdict"]["word"], "translated");
}
