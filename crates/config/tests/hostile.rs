//! Whatever a file holds, it is read or refused: no panic, no overflow of the stack, no quadratic time.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use xlat_config::{FILE_BYTES_MAX, Hint, Kind, load};

const TOML: &str = include_str!("../../../docs/examples/nat64.toml");
const JSON: &str = r#"{ "instance": "n1", "framework": "iptables", "global": { "pool6": "64:ff9b::/96", "f-args": 3 },
  "pool4": [ { "protocol": "TCP", "prefix": "192.0.2.1/32", "port range": "80-90", "mark": 7 } ],
  "bib": [ { "protocol": "TCP", "ipv6 address": "2001:db8::1#80", "ipv4 address": "192.0.2.1#80" } ] }"#;

/// Loads and renders everything there is to say.
fn digest(content: &[u8]) -> bool {
    match load("file", content, &Hint::default()) {
        Ok(loaded) => !loaded.warnings.to_string().contains("error:"),
        Err(diagnostics) => diagnostics.has_errors() && !diagnostics.to_string().is_empty(),
    }
}

proptest! {
    #[test]
    fn any_bytes(content in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(digest(&content));
    }

    #[test]
    fn any_text(brace: bool, text in "([\\[\\]{}\",:=.#\n ]|instance|global|pool[46]|eamt|bib|null|0|-|\\PC){0,40}") {
        let text = if brace { "{".to_owned() + &text } else { text };
        prop_assert!(digest(text.as_bytes()));
    }

    /// Real files with some bytes changed, removed or doubled.
    #[test]
    fn damaged_files(json: bool, edits in prop::collection::vec((any::<prop::sample::Index>(), 0..3_u8, any::<u8>()), 1..6)) {
        let mut content = if json { JSON } else { TOML }.as_bytes().to_vec();
        for (index, edit, byte) in edits {
            let at = index.index(content.len());
            match edit {
                0 => content[at] = byte,
                1 => drop(content.remove(at)),
                _ => content.insert(at, byte),
            }
        }
        prop_assert!(digest(&content));
    }
}

#[test]
fn every_beginning_of_a_file() {
    for text in [TOML, JSON] {
        assert!(load("file", text, &Hint::default()).is_ok());
        for end in 0..text.len() {
            assert!(digest(&text.as_bytes()[..end]));
        }
    }
}

#[test]
fn deep_nesting_is_refused() {
    const DEPTH: usize = 200_000;
    for text in [
        "{\"a\":".repeat(DEPTH),
        format!("{{\"comment\":{}", "[".repeat(DEPTH)),
        format!("comment = {}", "[".repeat(DEPTH)),
        format!("comment = {}", "{a=".repeat(DEPTH)),
        format!("comment{} = 1", ".a".repeat(DEPTH)),
        format!("[comment{}]", ".a".repeat(DEPTH)),
    ] {
        assert!(load("file", &text, &Hint::default()).is_err(), "{}", &text[..20]);
    }
}

#[test]
fn a_file_may_not_be_too_long() {
    let error = load("file", vec![0; FILE_BYTES_MAX + 1], &Hint::default()).unwrap_err();
    assert!(error.to_string().contains("268435457 bytes"), "{error}");
}

#[test]
fn only_so_many_errors_are_kept() {
    let text = format!("[[instance]]\nname = 'a'\ntype = 'siit'\neamt = [{}]", "1, ".repeat(10_000));
    let diagnostics = load("file", &text, &Hint::default()).unwrap_err();
    assert_eq!((diagnostics.list.len(), diagnostics.omitted), (50, 9950));
    assert!(diagnostics.to_string().ends_with("and 9950 more"));
}

/// `count` entries in a file of one of three forms; `clash` repeats the first at the end.
fn eam_file(form: &str, count: u32, clash: bool) -> String {
    let mut text = match form {
        "json" => r#"{ "instance": "big", "framework": "netfilter", "eamt": ["#.to_owned(),
        _ => "[[instance]]\nname = 'big'\ntype = 'siit'\neamt = [\n".to_owned(),
    };
    for number in 0..count + u32::from(clash) {
        let number = if number == count { 0 } else { number };
        let ipv4 = std::net::Ipv4Addr::from(0x0A00_0000 + number);
        let ipv6 = std::net::Ipv6Addr::from((0x2001_0db8 << 96) + u128::from(number));
        match form {
            "json" => {
                let comma = if text.ends_with('[') { "" } else { ",\n" };
                text += &format!(r#"{comma}{{"ipv6 prefix": "{ipv6}", "ipv4 prefix": "{ipv4}/32"}}"#);
            }
            "tables" => text += &format!("{{ ipv6-prefix = '{ipv6}', ipv4-prefix = '{ipv4}' }},\n"),
            _ => text += &format!("'{ipv4} {ipv6}',\n"),
        }
    }
    text + if form == "json" { "]}" } else { "]" }
}

#[test]
fn large_tables_take_linear_time() {
    // Quadratic checks would take minutes with these.
    const COUNT: u32 = 100_000;
    for form in ["json", "tables", "pairs"] {
        let started = Instant::now();
        let loaded = load("big", eam_file(form, COUNT, false), &Hint::default()).unwrap();
        let Kind::Siit(siit) = &loaded.config.instances[0].kind else { panic!("a NAT64") };
        assert_eq!(siit.eamt.len(), COUNT as usize);
        let clash = load("big", eam_file(form, COUNT, true), &Hint::default()).unwrap_err();
        assert!(clash.to_string().contains("has a prefix that EAM"), "{clash}");
        assert!(started.elapsed() < Duration::from_secs(30), "{form}: {:?}", started.elapsed());
    }
}

/// Prints time for a million entries: `cargo test --release -p xlat-config -- --ignored --nocapture million`.
#[test]
#[ignore = "a measurement"]
fn a_million_entries() {
    for form in ["json", "tables", "pairs"] {
        let text = eam_file(form, 1_000_000, false);
        let started = Instant::now();
        load("big", &text, &Hint::default()).unwrap();
        println!("{form}: {} bytes, {:?}", text.len(), started.elapsed());
    }
}
