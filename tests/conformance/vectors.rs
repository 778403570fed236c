//! Reads every vector file under `tests/vectors` and plays its cases on the bare engine.

use xlat_tests::corpus::{files, play_all};
use xlat_tests::engine::Bare;
use xlat_tests::packet::{Env, encode};
use xlat_tests::vector::{Expected, Step};

#[test]
fn every_file_compiles() {
    for (path, cases) in files().unwrap() {
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
        }
    }
}

/// `VECTORS=text` plays only the files and cases whose path or name contains the text.
#[test]
fn the_engine_agrees() {
    let wanted = std::env::var("VECTORS").unwrap_or_default();
    match play_all(&mut Bare::default(), |place, _| place.contains(&wanted)) {
        Ok(count) => println!("{count} cases played on the engine"),
        Err(faults) => panic!("{faults}"),
    }
}
