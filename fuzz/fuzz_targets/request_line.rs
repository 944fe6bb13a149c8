//! Hands libFuzzer's bytes to the target, which the tests run as well.
#![no_main]

#[path = "../targets/request_line.rs"]
mod request_line;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| request_line::run(bytes));
