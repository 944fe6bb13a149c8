//! How the master's own step ended, when it was asked for, and what is left of it.

use std::time::Duration;

use einhorn::decide::{Action, Event};
use einhorn::outcome::Outcome;
use einhorn::state::{ExitStatus, Pid, Signal};

use super::{ask, deadline_ms, manual};
use crate::example::{Master, ended, fit};

/// A candidate was asked for, was found fit, and is to take over.
fn handing_over() -> Master {
    let mut master = manual(1, 1);
    master.signal(Signal::Hup);
    master.tell(Event::PreflightStarted { pid: Pid(2000), deployment: None });
    master.tell(ended(ExitStatus::Code(0), Some(fit()), ""));
    master
}

#[test]
fn an_exec_that_fails_and_a_rollback_can_be_told_apart() {
    let why = || "it was not to be".to_owned();
    let ends = [
        (Event::HandOverFailed { why: why() }, Outcome::Refused),
        (Event::RolledBack { why: why() }, Outcome::RolledBack),
    ];
    for (event, outcome) in ends {
        let mut master = handing_over();
        master.now_ms += 700;
        master.tell(event);
        let last = master.state.last_upgrade.as_ref().unwrap();
        assert_eq!((last.outcome, last.took), (outcome, Duration::from_millis(700)));
    }
}

#[test]
fn whoever_joins_does_not_make_it_younger() {
    let mut master = manual(1, 1);
    assert_eq!(ask(&mut master, "reload").len(), 1);
    master.now_ms += 700;
    // It asks anew.
    assert_eq!(ask(&mut master, "upgrade").len(), 2);
    master.now_ms += 300;
    ask(&mut master, "abort");
    let last = master.state.last_upgrade.as_ref().unwrap();
    assert_eq!((last.outcome, last.took), (Outcome::Aborted, Duration::from_secs(1)));
}

#[test]
fn an_abort_takes_back_what_was_put_off() {
    let mut master = manual(1, 1);
    ask(&mut master, "reload");
    master.reexec();
    assert_eq!(master.signal(Signal::Hup), [], "put off");
    assert_eq!(ask(&mut master, "abort"), []);
    assert_eq!((master.state.upgrade_due_at, deadline_ms(&master.state)), (None, None));
}

#[test]
fn a_ruby_einhorn_takes_over_only_if_it_is_one_and_was_asked_for() {
    let ruby = "[MASTER 2000] INFO: Running under Ruby 3.1.2\n";
    let line = "{command: reload, args: [--to-ruby]}";
    let asked = || {
        let mut master = manual(1, 1);
        let connection = einhorn::state::ConnectionId(1);
        master.tell(Event::Opened { connection });
        assert!(matches!(master.ask(line)[..], [.., Action::StartPreflight]));
        master.tell(Event::PreflightStarted { pid: Pid(2000), deployment: None });
        master
    };
    let takes_over = |event: Event, mut master: Master| {
        let actions = master.tell(event);
        let is_over = |action: &Action| matches!(action, Action::HandBack | Action::HandOver);
        actions.into_iter().find(is_over)
    };
    let well = ExitStatus::Code(0);
    assert_eq!(takes_over(ended(well, None, ruby), asked()), Some(Action::HandBack));
    assert_eq!(takes_over(ended(well, None, "no such thing"), asked()), None);
    assert_eq!(takes_over(ended(ExitStatus::Code(1), None, ruby), asked()), None);
    assert_eq!(takes_over(ended(well, Some(fit()), ruby), asked()), None, "it is ours");
    let mut master = manual(1, 1);
    master.state.config.metrics_file = Some("/run/metrics".into());
    assert!(matches!(master.ask(line)[..], [Action::Reply { .. }]), "it has no words for that");
}
