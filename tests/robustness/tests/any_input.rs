//! The targets on random bytes, and on the corpus that fuzzing has found.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where something it relies on fails")]

use std::path::Path;

use proptest::prelude::*;
use xlat_robustness::targets;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn six_to_four(data in prop::collection::vec(any::<u8>(), 0..300)) {
        targets::six_to_four(&data);
    }

    #[test]
    fn four_to_six(data in prop::collection::vec(any::<u8>(), 0..300)) {
        targets::four_to_six(&data);
    }

    #[test]
    fn fragments(data in prop::collection::vec(any::<u8>(), 0..300)) {
        targets::fragments(&data);
    }

    #[test]
    fn errors(data in prop::collection::vec(any::<u8>(), 0..150)) {
        targets::errors(&data);
    }

    #[test]
    fn operations(data in prop::collection::vec(any::<u8>(), 0..600)) {
        xlat_robustness::operations::operations(&data);
    }

    #[test]
    fn offload(data in prop::collection::vec(any::<u8>(), 0..60)) {
        targets::offload(&data);
    }
}

/// Every file of the corpus passes: what fuzzing once found stays found.
#[test]
fn corpus() {
    for (name, target) in targets::ALL {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(name);
        let mut count = 0;
        for entry in std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let path = entry.unwrap().path();
            println!("{}", path.display());
            target(&std::fs::read(&path).unwrap());
            count += 1;
        }
        assert!(count != 0, "{} is empty", folder.display());
    }
}
