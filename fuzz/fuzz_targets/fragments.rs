//! See `xlat_robustness::targets::fragments`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| xlat_robustness::targets::fragments(data));
