//! Upgrades that are asked for while the master's own step is under way: the newest code is wanted.

use std::path::PathBuf;

use einhorn::decide::{Action, Event, HUP_PAUSE};
use einhorn::state::{Deployment, ExitStatus, Generation, Pid, Signal};

use crate::example::{Master, adopted, ended, fit, without_log};
use crate::upgrade::{ask, deadline_ms, manual, turn};

/// A master with `--chdir`.
fn deployed() -> Master {
    let mut master = manual(1, 1);
    master.state.config.chdir = Some(PathBuf::from("/srv/web/current"));
    master
}

fn release(number: u32) -> Option<Deployment> {
    let directory = Some(PathBuf::from(format!("/srv/web/releases/{number}")));
    Some(Deployment { directory, environment: Vec::new() })
}

fn asks_anew() -> [Action; 2] {
    [Action::KillPreflight, Action::StartPreflight]
}

#[test]
fn an_upgrade_that_joins_one_is_about_what_the_link_means_by_then() {
    let mut master = deployed();
    ask(&mut master, "upgrade");
    master.tell(Event::PreflightStarted { pid: Pid(2000), deployment: release(41) });
    assert_eq!(ask(&mut master, "upgrade"), asks_anew());
    master.tell(Event::PreflightStarted { pid: Pid(2001), deployment: release(42) });
    // The end of the first comes late, and says nothing of the second.
    let late = ended(ExitStatus::Code(0), Some(fit()), "");
    assert_eq!(without_log(master.tell(late)), []);
    assert_eq!(ask(&mut master, "reload"), [], "which begins no code");
    assert_eq!(master.state.next_deployment, release(42));
}

#[test]
fn an_upgrade_takes_no_code_from_a_reload_that_it_joins() {
    for signal in [false, true] {
        let mut master = deployed();
        ask(&mut master, "reload");
        master.tell(Event::PreflightStarted { pid: Pid(1999), deployment: release(41) });
        let asked = match signal {
            true => master.signal(Signal::Hup),
            false => ask(&mut master, "upgrade"),
        };
        assert_eq!(asked, asks_anew());
        master.tell(Event::PreflightStarted { pid: Pid(2000), deployment: release(42) });
        master.tell(ended(ExitStatus::Code(0), Some(fit()), ""));
        master.tell(adopted());
        assert_eq!(master.state.deployments.get(&Generation(1)), release(42).as_ref());
    }
}

#[test]
fn a_hangup_during_an_upgrade_makes_another_one_after_it() {
    let mut master = deployed();
    master.signal(Signal::Hup);
    master.tell(Event::PreflightStarted { pid: Pid(2000), deployment: release(41) });
    for _ in 0..3 {
        assert_eq!(master.signal(Signal::Hup), []);
    }
    let due_ms = master.now_ms + u64::try_from(HUP_PAUSE.as_millis()).unwrap();
    // It does not wake while it cannot begin.
    assert_eq!(master.turn_at(due_ms), []);
    assert!(deadline_ms(&master.state).is_some_and(|at| at > due_ms));
    master.tell(ended(ExitStatus::Code(0), Some(fit()), ""));
    master.tell(adopted());
    let orders = turn(&mut master);
    assert!(orders.contains(&asks_anew()[1]), "{orders:?}");
    assert_eq!(master.state.upgrade_due_at, None);
}
