//! `docs/requirements.toml` lists what the RFCs require. Each entry names the tests that prove it, or the reason why it is
//! not done; a named test must exist.

#![expect(clippy::unwrap_used, reason = "a test ends where something it relies on fails")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use toml::Value;

const LEVELS: [&str; 5] = ["MUST", "MUST NOT", "SHOULD", "SHOULD NOT", "MAY"];
const RFCS: [i64; 6] = [4884, 6052, 6146, 6791, 7757, 7915];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every Rust source below `folder`, joined.
fn sources(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            sources(&path, text);
        } else if path.extension().is_some_and(|end| end == "rs") {
            *text += &fs::read_to_string(&path).unwrap();
        }
    }
}

/// What is wrong with a reference to a test, if anything: `vectors/FILE.vec`, `vectors/FILE.vec#case`, or a function.
fn fault(test: &str, functions: &str) -> Option<String> {
    if !test.starts_with("vectors/") {
        let found = functions.contains(&format!("fn {test}("));
        return (!found).then(|| format!("no test function `{test}`"));
    }
    let (file, case) = test.split_once('#').unwrap_or((test, ""));
    let Ok(text) = fs::read_to_string(root().join("tests").join(file)) else {
        return Some(format!("no file `{file}`"));
    };
    let found = case.is_empty() || text.lines().any(|line| line.strip_prefix("case ") == Some(case));
    (!found).then(|| format!("no case `{case}` in `{file}`"))
}

#[test]
fn every_requirement_is_proved_or_explained() {
    let text = fs::read_to_string(root().join("docs/requirements.toml")).unwrap();
    let ledger: toml::Table = text.parse().unwrap();
    let mut functions = String::new();
    sources(&root().join("crates"), &mut functions);
    sources(&root().join("tests"), &mut functions);

    let mut faults = Vec::new();
    let mut counts = BTreeMap::<i64, (usize, usize)>::new();
    for entry in ledger["requirement"].as_array().unwrap() {
        let word = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default();
        let rfc = entry.get("rfc").and_then(Value::as_integer).unwrap_or_default();
        let place = format!("RFC {rfc} {} ({})", word("section"), word("text"));
        let tests = entry.get("tests").and_then(Value::as_array).cloned().unwrap_or_default();
        if !LEVELS.contains(&word("level")) || word("section").is_empty() || word("text").is_empty() {
            faults.push(format!("{place}: section, level and text are needed"));
        }
        if tests.is_empty() && word("reason").is_empty() {
            faults.push(format!("{place}: neither test nor reason"));
        }
        for test in &tests {
            faults.extend(
                fault(test.as_str().unwrap_or_default(), &functions).map(|what| format!("{place}: {what}")),
            );
        }
        let count = counts.entry(rfc).or_default();
        *(if tests.is_empty() { &mut count.1 } else { &mut count.0 }) += 1;
    }
    for rfc in RFCS {
        assert!(counts.contains_key(&rfc), "nothing of RFC {rfc}");
    }
    for (rfc, (proved, explained)) in counts {
        println!("RFC {rfc}: {proved} proved, {explained} explained");
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// RFC 6146 section 4: the lifetimes that may not be shorter.
#[test]
fn timeouts_have_minimums() {
    let refused = |option: &str, value: &str| {
        let file = format!(
            "[[instance]]\nname = \"x\"\ntype = \"nat64\"\npool4 = [\"192.0.2.1\"]\n[instance.global]\n\
             pool6 = \"64:ff9b::/96\"\n{option} = \"{value}\"\n"
        );
        xlat_config::load("x", file, &xlat_config::Hint::default()).is_err()
    };
    for (option, short, enough) in [
        ("udp-timeout", "0:01:59", "0:02:00"),
        ("tcp-est-timeout", "1:59:59", "2:00:00"),
        ("tcp-trans-timeout", "0:03:59", "0:04:00"),
    ] {
        assert!(refused(option, short), "{option} = {short}");
        assert!(!refused(option, enough), "{option} = {enough}");
    }
}
