//! A candidate's report: lines that every release can read.
//!
//! ```text
//! einhorn-candidate 1
//! pid=4711
//! release=0.2.0
//! format=1
//! adopted=yes
//! ```
//!
//! Every line ends in a newline; `adopted` is the last one. Unknown keys are ignored, so that later
//! releases can add some.

use crate::state::CandidateReport;

/// The maximum size of a report in bytes. Today's is about a hundred; a command that is not an
/// einhorn must not fill the master's memory.
pub const REPORT_MAX: usize = 16 * 1024;

/// The first line.
const TITLE: &str = "einhorn-candidate 1";

/// Formats a report.
pub fn write_report(report: &CandidateReport) -> String {
    let CandidateReport { pid, release, format, has_adopted } = report;
    let adopted = if *has_adopted { "yes" } else { "no" };
    format!("{TITLE}\npid={pid}\nrelease={release}\nformat={format}\nadopted={adopted}\n")
}

/// Parses a report; `None` if it is malformed or truncated.
pub fn parse_report(text: &str) -> Option<CandidateReport> {
    if text.len() > REPORT_MAX {
        return None;
    }
    let mut lines = text.strip_suffix('\n')?.split('\n');
    if lines.next() != Some(TITLE) {
        return None;
    }
    let pairs: Vec<(&str, &str)> = lines.map(|line| line.split_once('=')).collect::<Option<_>>()?;
    // The first one counts if a key is repeated.
    let value = |name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
    Some(CandidateReport {
        pid: value("pid")?.parse().ok().filter(|pid| *pid > 0)?,
        release: value("release")?.to_owned(),
        format: value("format")?.parse().ok()?,
        has_adopted: match value("adopted")? {
            "yes" => true,
            "no" => false,
            _ => return None,
        },
    })
}
