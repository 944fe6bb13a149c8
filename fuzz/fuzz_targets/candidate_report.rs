//! Hands libFuzzer's bytes to the target, which the tests run as well.
#![no_main]

#[path = "../targets/candidate_report.rs"]
mod candidate_report;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| candidate_report::run(bytes));
