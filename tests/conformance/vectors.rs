//! Reads every vector file under `tests/vectors` and plays its cases on the bare engine.

#![expect(clippy::unwrap_used, reason = "a test ends where something it relies on fails")]

use std::fs;
use std::path::{Path, PathBuf};

use xlat_tests::engine::Bare;
use xlat_tests::packet::{Env, encode};
use xlat_tests::runner::play;
use xlat_tests::vector::{Case, Expected, Step, read};

/// Every `.vec` file with its cases, by path.
fn files() -> Vec<(PathBuf, Vec<Case>)> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "vec") {
                let text = fs::read_to_string(&path).unwrap();
                let cases = read(&text).unwrap_or_else(|e| panic!("{}:{e}", path.display()));
                found.push((path, cases));
            }
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

#[test]
fn every_file_compiles() {
    let mut count = 0;
    for (path, cases) in files() {
        assert!(!cases.is_empty(), "{} has no case", path.display());
        for case in &cases {
            let place = format!("{}:{} {}", path.display(), case.line, case.name);
            assert!(case.steps.iter().any(|(_, s)| matches!(s, Step::In(_))), "{place}: nothing goes in");
            assert!(case.config.contains("[[instance]]"), "{place}: no configuration");
            for (line, step) in &case.steps {
                if let Step::In(text) | Step::Out(Expected::Packet(text)) = step {
                    encode(text, &Env::new()).unwrap_or_else(|e| panic!("{place}: line {line}: {e}"));
                }
            }
            count += 1;
        }
    }
    println!("{count} cases");
}

/// `VECTORS=text` plays only the files and cases whose path or name contains the text.
#[test]
fn the_engine_agrees() {
    let wanted = std::env::var("VECTORS").unwrap_or_default();
    let (mut count, mut faults) = (0, Vec::new());
    for (path, cases) in files() {
        for case in &cases {
            let place = format!("{}:{} {}", path.display(), case.line, case.name);
            if !place.contains(&wanted) {
                continue;
            }
            count += 1;
            if let Err(message) = play(case, &mut Bare::default()) {
                faults.push(format!("{place}\n{message}"));
            }
        }
    }
    println!("{count} cases played, {} failed", faults.len());
    assert!(faults.is_empty(), "{} of {count} cases failed\n\n{}", faults.len(), faults.join("\n"));
}
