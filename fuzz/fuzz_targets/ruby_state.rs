//! Hands libFuzzer's bytes to the target, which the tests run as well.
#![no_main]

#[path = "../targets/ruby_state.rs"]
mod ruby_state;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ruby_state::run(bytes));
