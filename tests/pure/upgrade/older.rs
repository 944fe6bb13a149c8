//! Candidates that know less than this release does, and what they hand over.

use std::time::Duration;

use einhorn::decide::{Action, Event, Level};
use einhorn::state::{CandidateReport, ExitStatus, Monotonic, Pid, Signal};

use super::{asks, manual};
use crate::example::{Master, adopted, ended, fit, without_log};

/// Releases that know the first schema version only.
#[test]
fn an_older_release_is_asked_again_in_its_own_version() {
    let mut master = manual(1, 1);
    assert_eq!(master.signal(Signal::Hup), asks());
    master.tell(Event::PreflightStarted { pid: Pid(2000), deployment: None });
    let older = CandidateReport { reads: vec![1], features: Vec::new(), ..fit() };
    let refused = CandidateReport { has_adopted: false, ..older.clone() };
    let again = master.tell(ended(ExitStatus::Code(1), Some(refused), ""));
    assert_eq!(without_log(again), [Action::StartPreflight { schema: 1 }]);
    // It may have been replaced by a newer one meanwhile, which is not asked a third time.
    for reads in [vec![1], vec![1, 2, 3, 4]] {
        let mut master = Master { state: master.state.clone(), ..master };
        master.tell(Event::PreflightStarted { pid: Pid(2000), deployment: None });
        let report = CandidateReport { reads, ..older.clone() };
        let orders = master.tell(ended(ExitStatus::Code(0), Some(report), ""));
        assert_eq!(without_log(orders), [Action::HandOver { schema: 1 }]);
    }
}

/// What an older release has no words for.
#[test]
fn a_release_that_does_not_know_what_is_in_use_is_refused_by_name() {
    for adopts in [false, true] {
        let mut master = manual(1, 1);
        master.state.config.metrics_file = Some("/run/metrics".into());
        master.signal(Signal::Hup);
        master.tell(Event::PreflightStarted { pid: Pid(2000), deployment: None });
        let (reads, features) = (vec![1], vec!["canary".to_owned()]);
        let older = CandidateReport { reads, features, has_adopted: adopts, ..fit() };
        let status = ExitStatus::Code(i32::from(!adopts));
        let orders = master.tell(ended(status, Some(older), ""));
        let why = "Not upgrading: einhorn 9.9.9 does not know \"metrics-file\", which is in use";
        let message = why.to_owned();
        assert_eq!(orders, [Action::Log { level: Level::Error, message }]);
        assert_eq!(master.state.reexec, None);
    }
}

/// Version 1 does not say when it was asked for.
#[test]
fn a_step_without_a_date_was_asked_for_just_now() {
    for is_adopted in [true, false] {
        let mut master = manual(1, 1);
        master.signal(Signal::Hup);
        master.state.reexec.as_mut().unwrap().asked_at = Monotonic(0);
        master.now_ms += 5;
        let rolled_back = Event::RolledBack { why: "it does not like us".to_owned() };
        master.tell(if is_adopted { adopted() } else { rolled_back });
        let now = Monotonic(master.now_ms * 1_000_000);
        match is_adopted {
            true => assert_eq!(master.state.rollout.unwrap().asked_at, now),
            false => assert_eq!(master.state.last_upgrade.unwrap().took, Duration::ZERO),
        }
    }
}
