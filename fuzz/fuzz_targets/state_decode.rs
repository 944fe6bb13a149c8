//! Hands libFuzzer's bytes to the target, which the tests run as well.
#![no_main]

#[path = "../targets/state_decode.rs"]
mod state_decode;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| state_decode::run(bytes));
