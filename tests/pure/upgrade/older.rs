//! Candidates that know less than this release does.

use einhorn::decide::{Action, Event, Level};
use einhorn::state::{CandidateReport, ExitStatus, Pid, Signal};

use super::manual;
use crate::example::{ended, fit};

/// What a refusal with these words looks like.
fn refused(status: ExitStatus, report: CandidateReport, words: &str, why: &str) {
    let mut master = manual(1, 1);
    master.signal(Signal::Hup);
    master.tell(Event::PreflightStarted { pid: Pid(2000), deployment: None });
    let orders = master.tell(ended(status, Some(report), words));
    let message = format!("Not upgrading: {why}");
    assert_eq!(orders, [Action::Log { level: Level::Error, message }], "nobody is asked again");
    assert_eq!(master.state.reexec, None);
}

/// It looks at nothing behind the header, and no other spelling is tried.
#[test]
fn a_release_that_reads_another_format_is_refused() {
    let other = CandidateReport { format: 2, has_adopted: false, ..fit() };
    let why = "einhorn 9.9.9 reads a state of format 2, and this release writes format 1";
    refused(ExitStatus::Code(1), other.clone(), "said elsewhere", why);
    let other = CandidateReport { has_adopted: true, ..other };
    refused(ExitStatus::Code(0), other, "", why);
}

/// It finds that out on the real bytes, and says so by its last words.
#[test]
fn a_release_that_does_not_know_what_is_in_use_is_refused_by_name() {
    let older = CandidateReport { has_adopted: false, ..fit() };
    let words = "einhorn: the state has \"note\" in use, which this release does not know";
    let why = format!("einhorn 9.9.9 cannot take over (exit status 1); its last output: {words}");
    refused(ExitStatus::Code(1), older, words, &why);
}
