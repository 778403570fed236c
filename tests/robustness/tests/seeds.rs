//! Where the corpus begins: packets of the golden vectors and real configurations, written on request by
//! `cargo test -p xlat-robustness --test seeds -- --ignored`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where something it relies on fails")]

use std::fs;
use std::path::{Path, PathBuf};

use xlat_robustness::repair::{ADDRESSES, HEADER, QUOTED, UPPER};
use xlat_robustness::targets;
use xlat_tests::packet::{Env, encode};
use xlat_tests::vector::{Step, read};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every file below `folder` with this ending.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Inputs of the targets for single packets, of every packet that goes in in a vector.
fn packets() -> Vec<(&'static str, Vec<u8>)> {
    let mut seeds = Vec::new();
    for path in files(&root().join("tests/vectors"), "vec") {
        let nat64 = path.parent().is_some_and(|folder| folder.ends_with("nat64"));
        for case in read(&fs::read_to_string(&path).unwrap()).unwrap() {
            for (_, step) in &case.steps {
                let Step::In(text) = step else { continue };
                let Ok(frame) = encode(text, &Env::new()) else { continue };
                let Some(first) = frame.bytes.first().filter(|_| frame.bytes.len() <= 400) else { continue };
                let target = if first >> 4 == 6 { "six_to_four" } else { "four_to_six" };
                let repairs = if nat64 { 0 } else { ADDRESSES | HEADER | UPPER | QUOTED };
                // Client and server, as the setups have them.
                let mut data = vec![if nat64 { 3 } else { 0 }, repairs, 4, 70, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0];
                data.extend(&frame.bytes);
                seeds.push((target, data));
            }
        }
    }
    seeds
}

#[test]
#[ignore = "writes files"]
fn write() {
    let mut seeds = packets();
    for (ending, folder) in [("toml", "docs/examples"), ("json", "crates/config/tests")] {
        for path in files(&root().join(folder), ending) {
            seeds.push(("configuration", fs::read(path).unwrap()));
        }
    }
    for setup in xlat_robustness::setups::ALL {
        seeds.push(("configuration", setup.toml.into()));
    }
    for (name, _) in targets::ALL {
        if seeds.iter().all(|(target, _)| *target != name) {
            let spread = |step: usize| (0..200).map(|i: usize| (i * step) as u8).collect();
            seeds.extend([1, 7, 37, 101].map(|step| (name, spread(step))));
        }
    }
    for (number, (target, data)) in seeds.iter().enumerate() {
        let folder = root().join("fuzz/corpus").join(target);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("seed-{number:04}")), data).unwrap();
    }
}

#[test]
fn there_are_seeds_for_both_directions() {
    for name in ["six_to_four", "four_to_six"] {
        assert!(packets().iter().filter(|(target, _)| *target == name).count() > 50, "{name}");
    }
}
