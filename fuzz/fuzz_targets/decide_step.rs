//! Hands libFuzzer's bytes to the target, which the tests run as well.
#![no_main]

#[path = "../targets/decide_step.rs"]
mod decide_step;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| decide_step::run(bytes));
