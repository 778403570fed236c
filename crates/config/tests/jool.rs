//! Jool's own files, read as they are.

use std::time::Duration;

use xlat_config::{
    Diagnostics, EamHairpinMode, Hint, Kind, Loaded, MaxIterations, Nat64, Protocol, Siit, Translator, load,
};

const SIIT: &str = r#"{
  "comment": { "any": ["thing"] },
  "instance": "s1", "framework": "netfilter",
  "global": { "pool6": "2001:db8::/96", "rfc6791v4-prefix": null, "eam-hairpin-mode": "intrinsic" },
  "eamt": [ { "ipv6 prefix": "2001:db8:3::/124", "ipv4 prefix": "192.0.2.16/28" } ],
  "denylist4": [ "198.51.100.0", "198.51.100.32/27" ]
}"#;

const NAT64: &str = r#"{
  "instance": "n1", "framework": "iptables",
  "global": { "pool6": "64:ff9b::/96", "udp-timeout": "0:05:00" },
  "pool4": [
    { "protocol": "TCP",  "prefix": "192.0.2.1/32" },
    { "protocol": "TCP",  "prefix": "192.0.2.1", "port range": "80" },
    { "protocol": "UDP",  "prefix": "192.0.2.1", "port range": "61001-62000", "max-iterations": 1500, "mark": 0 },
    { "protocol": "ICMP", "prefix": "192.0.2.1", "port range": "1000-2000" } ],
  "bib": [
    { "protocol": "TCP",  "ipv6 address": "2001:db8::1#80", "ipv4 address": "192.0.2.1#80" },
    { "protocol": "ICMP", "ipv6 address": "2001:db8:aaaa::1#44", "ipv4 address": "192.0.2.1#1044" } ]
}"#;

fn read(text: &str) -> Loaded {
    load("jool.conf", text, &Hint::default()).unwrap_or_else(|diagnostics| panic!("{diagnostics}"))
}

fn refused(text: &str, hint: &Hint) -> Diagnostics {
    match load("jool.conf", text, hint) {
        Ok(loaded) => panic!("not refused: {:?}", loaded.config),
        Err(diagnostics) => diagnostics,
    }
}

fn siit(loaded: &Loaded) -> &Siit {
    match &loaded.config.instances[0].kind {
        Kind::Siit(siit) => siit,
        Kind::Nat64(_) => panic!("a NAT64"),
    }
}

fn nat64(loaded: &Loaded) -> &Nat64 {
    match &loaded.config.instances[0].kind {
        Kind::Nat64(nat64) => nat64,
        Kind::Siit(_) => panic!("a SIIT"),
    }
}

#[test]
fn the_full_siit_file() {
    let loaded = read(SIIT);
    assert_eq!(loaded.config.instances[0].name, "s1");
    let siit = siit(&loaded);
    assert_eq!(siit.pool6, Some("2001:db8::/96".parse().unwrap()));
    assert_eq!(siit.global.rfc6791v4_prefix, None);
    assert_eq!(siit.global.eam_hairpin_mode, EamHairpinMode::Intrinsic);
    assert_eq!(siit.eamt[0].ipv6, "2001:db8:3::/124".parse().unwrap());
    assert_eq!(siit.eamt[0].ipv4, "192.0.2.16/28".parse().unwrap());
    assert_eq!(siit.denylist4, ["198.51.100.0/32".parse().unwrap(), "198.51.100.32/27".parse().unwrap()]);
}

#[test]
fn the_full_nat64_file() {
    let loaded = read(NAT64);
    assert_eq!(loaded.config.instances[0].name, "n1");
    let nat64 = nat64(&loaded);
    assert_eq!(nat64.pool6, "64:ff9b::/96".parse().unwrap());
    assert_eq!(nat64.global.udp_timeout, Duration::from_secs(300));
    let ports: Vec<_> = nat64.pool4.iter().map(|entry| (entry.protocol, entry.ports.clone())).collect();
    assert_eq!(
        ports,
        [
            (Protocol::Tcp, 61001..=65535),
            (Protocol::Tcp, 80..=80),
            (Protocol::Udp, 61001..=62000),
            (Protocol::Icmp, 1000..=2000)
        ]
    );
    assert_eq!(nat64.pool4[2].max_iterations, MaxIterations::Count(1500));
    assert_eq!(nat64.bib[0].ipv6, ("2001:db8::1".parse().unwrap(), 80));
    assert_eq!(nat64.bib[1].ipv4, ("192.0.2.1".parse().unwrap(), 1044));
}

#[test]
fn the_minimal_files() {
    let minimal = read(r#"{"instance":"siit-minimal","framework":"netfilter"}"#);
    assert_eq!(siit(&minimal).pool6, None);
    assert_eq!(minimal.warnings.list.len(), 1);
    let text = r#"{"instance":"nat64-minimal","framework":"netfilter","global":{"pool6":"64:ff9b::/96"}}"#;
    assert!(refused(text, &Hint::default()).to_string().contains("can be a SIIT or a NAT64"));
    let hint = |kind| Hint { kind: Some(kind), ..Hint::default() };
    assert!(nat64(&load("f", text, &hint(Translator::Nat64)).unwrap()).pool4.is_empty());
    assert!(siit(&load("f", text, &hint(Translator::Siit)).unwrap()).pool6.is_some());
}

#[test]
fn the_kind_follows_from_any_key_of_one_translator() {
    for (section, stateful) in [
        (r#""pool4": []"#, true),
        (r#""bib": []"#, true),
        (r#""global": {"pool6": "64:ff9b::/96", "F-ARGS": 3}"#, true),
        (r#""eamt": []"#, false),
        (r#""blacklist4": []"#, false),
        (r#""global": {"amend-udp-checksum-zero": true}"#, false),
    ] {
        let global = if section.contains("global") { "" } else { r#""global": {"pool6": "64:ff9b::/96"}, "# };
        let loaded = read(&format!(r#"{{ "instance": "x", "framework": "netfilter", {global} {section} }}"#));
        assert_eq!(matches!(loaded.config.instances[0].kind, Kind::Nat64(_)), stateful, "{section}");
    }
}

#[test]
fn keys_in_any_case_comments_anywhere_and_trailing_text() {
    let text = r#"{ "INSTANCE": "x", "Framework": "netfilter", "comment": 1, "COMMENT": 2,
        "Global": { "Pool6": "64:ff9b::/96", "comment": null, "lowest-ipv6-mtu": 1400.9 },
        "POOL4": [ { "PROTOCOL": "tcp", "comment": [], "Prefix": "192.0.2.1", "Port Range": "20-10",
                     "mark": 4294967295, "max-iterations": "infinity" } ] } and so on"#;
    let loaded = read(text);
    let entry = &nat64(&loaded).pool4[0];
    assert_eq!((entry.mark, entry.ports.clone()), (u32::MAX, 10..=20));
    assert_eq!(entry.max_iterations, MaxIterations::Infinity);
    assert_eq!(loaded.config.instances[0].global.lowest_ipv6_mtu, 1400);
}

#[test]
fn denylists_add_up() {
    let text = r#"{ "instance": "x", "framework": "netfilter", "eamt": [],
        "global": {"pool6": "2001:db8::/96"}, "blacklist4": ["192.0.2.1"], "denylist4": ["192.0.2.2"] }"#;
    assert_eq!(siit(&read(text)).denylist4.len(), 2);
}

#[test]
fn the_name_may_come_from_the_caller() {
    let text = r#"{ "framework": "netfilter", "eamt": [] }"#;
    let hint = |name: &str| Hint { name: Some(name.to_owned()), ..Hint::default() };
    assert_eq!(load("f", text, &hint("a")).unwrap().config.instances[0].name, "a");
    assert!(load("f", text, &Hint::default()).is_err());
    let named = r#"{ "instance": "b", "framework": "netfilter", "eamt": [] }"#;
    assert!(load("f", named, &hint("b")).is_ok());
    assert!(refused(named, &hint("a")).to_string().contains("'b', the command line 'a'"));
}
