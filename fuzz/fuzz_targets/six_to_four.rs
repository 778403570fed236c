//! See `xlat_robustness::targets::six_to_four`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| xlat_robustness::targets::six_to_four(data));
