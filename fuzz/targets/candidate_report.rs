//! What a candidate wrote on its report descriptor, or a command that is none.
//!
//! Asserts that a report that is understood means the same when it is written again.

use einhorn::preflight::{REPORT_MAX, parse_report, write_report};

/// Runs one input.
pub(crate) fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Some(report) = parse_report(&text) else { return };
    assert!(report.pid > 0);
    let again = write_report(&report);
    assert!(again.len() <= REPORT_MAX, "{} bytes made of {}", again.len(), text.len());
    assert_eq!(parse_report(&again), Some(report));
}
