//! See `xlat_robustness::targets::configuration`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| xlat_robustness::targets::configuration(data));
