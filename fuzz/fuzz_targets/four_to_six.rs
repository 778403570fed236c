//! See `xlat_robustness::targets::four_to_six`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| xlat_robustness::targets::four_to_six(data));
