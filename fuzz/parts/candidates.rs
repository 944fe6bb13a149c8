//! The candidates of an input of `decide_step`, and what they say of themselves.

use einhorn::decide::PreflightOutcome;
use einhorn::state::{CandidateReport, ExitStatus, Pid, STATE_FORMAT};

/// The pid of every candidate; no worker has it.
pub(super) const CANDIDATE: Pid = Pid(60);

/// A candidate that was ordered.
#[derive(Default)]
pub(super) struct Candidate {
    pub(super) runs: bool,
    pub(super) is_killed: bool,
}

impl Candidate {
    /// It ends; if it does not run, it could not be started.
    pub(super) fn end(&self, how: &str) -> PreflightOutcome {
        if !self.runs {
            return PreflightOutcome::NotStarted { why: "no such file".to_owned() };
        }
        PreflightOutcome::Ended {
            pid: CANDIDATE,
            status: match how {
                _ if self.is_killed => {
                    ExitStatus::Killed { number: 9, signal: None, core_dumped: false }
                }
                "no" | "late" => ExitStatus::Code(1),
                _ => ExitStatus::Code(0),
            },
            report: report(how),
            pin: None,
            last_words: match how {
                "ruby" => format!("[MASTER {CANDIDATE}] INFO: Running under Ruby 3.1.2\n"),
                _ => how.to_owned(),
            },
            is_truncated: false,
        }
    }
}

/// What a candidate says of itself that ends in this way.
fn report(how: &str) -> Option<CandidateReport> {
    let fit = CandidateReport {
        pid: CANDIDATE.0,
        release: "9.9.9".to_owned(),
        format: STATE_FORMAT,
        has_adopted: true,
    };
    match how {
        "fit" | "late" => Some(fit),
        "child" => Some(CandidateReport { pid: CANDIDATE.0 + 1, ..fit }),
        "other" => Some(CandidateReport { format: 1000, ..fit }),
        "unable" => Some(CandidateReport { has_adopted: false, ..fit }),
        _ => None,
    }
}
