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

/// The same, of which generation 0 began in release 40 and the next one in release 41.
fn upgraded() -> Master {
    let mut master = deployed();
    master.state.deployments.insert(Generation(0), release(40).unwrap());
    ask(&mut master, "upgrade");
    master.tell(Event::PreflightStarted { pid: Pid(2000), deployment: release(41) });
    master.tell(ended(ExitStatus::Code(0), Some(fit()), ""));
    master.tell(adopted());
    master
}

fn known(master: &Master) -> Vec<u32> {
    master.state.deployments.keys().map(|generation| generation.0).collect()
}

#[test]
fn what_a_generation_began_with_is_kept_as_long_as_it_may_be_started() {
    let mut master = upgraded();
    assert_eq!(known(&master), [0, 1]);
    ask(&mut master, "abort");
    assert_eq!(known(&master), [0]);
    let mut master = upgraded();
    let orders = turn(&mut master);
    master.start(&orders);
    master.ack(&[1001]);
    turn(&mut master);
    assert_eq!((master.state.rollout.as_ref(), known(&master)), (None, vec![1]));
}

#[test]
fn a_candidate_that_is_refused_leaves_nothing_behind() {
    let mut master = deployed();
    ask(&mut master, "upgrade");
    master.tell(Event::PreflightStarted { pid: Pid(2000), deployment: release(41) });
    master.tell(ended(ExitStatus::Code(1), None, "boom"));
    assert_eq!(master.state.next_deployment, None);
}

#[test]
fn a_reload_takes_the_variables_anew_and_no_code() {
    let mut master = deployed();
    master.state.config.env_file = Some(PathBuf::from("/srv/web/env"));
    master.state.deployments.insert(Generation(0), release(40).unwrap());
    ask(&mut master, "reload");
    let environment = vec![("COLOR".into(), "green".into())];
    let next = Deployment { environment: environment.clone(), ..release(41).unwrap() };
    master.tell(Event::PreflightStarted { pid: Pid(2000), deployment: Some(next) });
    master.tell(ended(ExitStatus::Code(0), Some(fit()), ""));
    master.tell(adopted());
    let due = Deployment { environment, ..release(40).unwrap() };
    assert_eq!(master.state.deployments[&Generation(0)], due);
}
