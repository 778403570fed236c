//! See `xlat_robustness::operations::operations`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| xlat_robustness::operations::operations(data));
