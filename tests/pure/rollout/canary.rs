//! The canary: the first new worker of a smooth roll-out, and the command that looks at it.

use einhorn::decide::{Action, Event};
use einhorn::outcome::Outcome;
use einhorn::state::{ExitStatus, Generation, Pid, RolloutKind, RolloutStage, Signal};

use super::{ends, last, set, turn_and_start};
use crate::example::{Master, exited, without_log};
use crate::upgrade::{ask, deadline_ms, kind, manual, starts, told, turn};

/// The process of `--on-canary`.
const CHECK: Pid = Pid(3000);

/// A smooth roll-out beside three old workers, of which 1003 is the canary.
fn begun(settings: &str) -> Master {
    let mut master = manual(3, 3);
    set(&mut master, settings);
    master.upgrade();
    assert_eq!(turn_and_start(&mut master), starts(3..4, 1));
    assert_eq!(turn(&mut master), [], "one of it and no second");
    master
}

/// The same with `--on-canary`, and its time has come.
fn looked_at() -> Master {
    let mut master = begun("on_canary_timeout: 5");
    master.state.config.rollout.on_canary = vec!["look".into()];
    master.ack(&[1003]);
    let check = Action::RunCanaryCheck { worker: Pid(1003), generation: Generation(1) };
    assert_eq!(turn(&mut master), [check]);
    master
}

/// The same, and the command runs.
fn checked() -> Master {
    let mut master = looked_at();
    assert_eq!(without_log(master.tell(Event::CheckStarted { pid: CHECK })), []);
    assert_eq!(turn(&mut master), []);
    master
}

/// The command has ended.
fn check_ends(master: &mut Master, status: ExitStatus) {
    ends(master, CHECK.0, status);
}

fn is_replacing(master: &Master) -> bool {
    master.state.rollout.as_ref().is_some_and(|r| r.stage == RolloutStage::Replacing)
}

#[test]
fn it_must_have_been_up_for_as_long_as_is_asked() {
    let mut master = begun("canary_seconds: 30");
    master.now_ms += 1_000;
    let up_ms = master.now_ms;
    master.ack(&[1003]);
    assert_eq!(deadline_ms(&master.state), Some(up_ms + 30_000));
    assert_eq!(master.turn_at(up_ms + 29_999), []);
    assert_eq!(master.turn_at(up_ms + 30_000), [told(&[1000]), starts(4..6, 1)].concat());
    assert!(is_replacing(&master));
}

#[test]
fn how_long_may_change_meanwhile() {
    let mut master = begun("canary_seconds: 30");
    master.ack(&[1003]);
    assert_eq!(turn(&mut master), []);
    set(&mut master, "canary_seconds: 0");
    assert_eq!(turn(&mut master), [told(&[1000]), starts(4..6, 1)].concat());
}

#[test]
fn one_worker_is_no_upgrade_until_its_canary_has_passed() {
    let mut master = manual(1, 1);
    set(&mut master, "canary_seconds: 30");
    master.upgrade();
    turn_and_start(&mut master);
    master.ack(&[1001]);
    assert_eq!(turn(&mut master), []);
    assert_eq!(kind(&master.state), Some(RolloutKind::Smooth));
    assert_eq!(master.turn_at(master.now_ms + 30_000), told(&[1000]));
    assert_eq!(kind(&master.state), None);
}

#[test]
fn any_death_in_its_time_is_a_failure_and_another_one_is_started() {
    let mut master = begun("canary_seconds: 30");
    master.ack(&[1003]);
    ends(&mut master, 1003, ExitStatus::Code(0));
    assert_eq!(master.state.rollout.as_ref().unwrap().failure_count, 1);
    assert_eq!(turn_and_start(&mut master), starts(3..4, 1));
    master.exit(1003);
    assert_eq!(master.state.rollout.as_ref().unwrap().failure_count, 2);
    assert_eq!(turn(&mut master), [], "backed off");
}

#[test]
fn it_may_not_recycle_itself() {
    let mut master = begun("canary_seconds: 30");
    master.ack(&[1003]);
    master.now_ms += 10_000;
    ends(&mut master, 1003, ExitStatus::Code(0));
    assert_eq!(master.state.rollout.as_ref().unwrap().failure_count, 1);
}

#[test]
fn old_workers_beside_it_are_replaced_by_their_like() {
    let mut master = manual(3, 3);
    master.upgrade();
    master.exit(1001);
    // The canary first, they second.
    let orders = turn_and_start(&mut master);
    assert_eq!(orders, [starts(1..2, 1), starts(3..4, 0)].concat());
    master.exit(1003);
    assert_eq!(master.state.early_death_count, 1, "both may be started");
    master.turn_at(master.now_ms + 60_000);
    master.fail(3);
    assert_eq!(master.state.rollout.as_ref().unwrap().failure_count, 0, "of old code it is none");
}

#[test]
fn old_workers_that_never_come_up_do_not_keep_it_away() {
    let mut master = manual(2, 2);
    for pid in [1000, 1001] {
        master.exit(pid);
    }
    assert_eq!(turn_and_start(&mut master), starts(0..2, 0));
    master.upgrade();
    assert_eq!(turn_and_start(&mut master), starts(2..3, 1), "though two wait for their ACK");
    master.ack(&[1002]);
    assert_eq!(turn(&mut master), [told(&[1000]), starts(3..4, 1)].concat());
}

#[test]
fn old_workers_beside_it_never_have_the_last_attempt() {
    let mut master = manual(2, 2);
    set(&mut master, "retries: 2, seconds: 1");
    master.upgrade();
    assert_eq!(turn_and_start(&mut master), starts(2..3, 1));
    for deaths in [1, 1, 1] {
        master.state.workers.get_mut(&Pid(1000)).unwrap().acked_at = None;
        master.exit(1000);
        assert_eq!(master.state.early_death_count, deaths);
        master.now_ms += 1_500;
        assert_eq!(turn_and_start(&mut master), starts(0..1, 0));
    }
    assert_eq!(kind(&master.state), Some(RolloutKind::Smooth));
    master.exit(1002);
    turn(&mut master);
    assert_eq!(last(&master.state).outcome, Outcome::Failed, "its own is the last");
}

#[test]
fn what_is_above_the_target_makes_room_for_it() {
    let mut master = manual(3, 3);
    set(&mut master, "max_upgrade_additional: 1");
    master.upgrade();
    assert_eq!(turn_and_start(&mut master), starts(3..4, 1));
    ask(&mut master, "upgrade");
    master.reexec();
    // 1003 is of neither code.
    assert_eq!(turn(&mut master), [told(&[1003]), starts(4..5, 2)].concat());
    set(&mut master, "number: 2");
    assert_eq!(turn(&mut master), told(&[1000]), "nor is a third wanted by now");
    assert_eq!(master.state.capacity(), 2);
}

#[test]
fn it_passes_once_it_was_found_well() {
    let mut master = checked();
    check_ends(&mut master, ExitStatus::Code(0));
    assert!(is_replacing(&master));
    assert_eq!(turn(&mut master), [told(&[1000]), starts(4..6, 1)].concat());
}

#[test]
fn a_look_that_ends_badly_ends_the_roll_out_at_once() {
    let mut master = checked();
    check_ends(&mut master, ExitStatus::Code(7));
    let why = "Upgrade failed: --on-canary for worker 1003 ended with exit status 7; \
               generation 0 is still serving";
    assert_eq!(
        (last(&master.state).outcome, &*last(&master.state).message),
        (Outcome::Failed, why)
    );
    assert_eq!(turn(&mut master), told(&[1003]));
    let mut master = looked_at();
    let not_started = Event::CheckNotStarted { why: "no such file".to_owned() };
    assert_eq!(without_log(master.tell(not_started)), []);
    assert_eq!((kind(&master.state), last(&master.state).outcome), (None, Outcome::Failed));
}

#[test]
fn a_look_that_takes_too_long_is_ended_and_with_it_the_roll_out() {
    let mut master = checked();
    let due_ms = master.now_ms + 5_000;
    assert_eq!(deadline_ms(&master.state), Some(due_ms));
    assert_eq!(master.turn_at(due_ms - 1), []);
    assert_eq!(master.turn_at(due_ms), [Action::KillCheck { process: CHECK }]);
    assert_eq!(master.turn_at(due_ms + 1), [], "once");
    // Even if it says that all is well at the last moment.
    check_ends(&mut master, ExitStatus::Code(0));
    assert_eq!((kind(&master.state), last(&master.state).outcome), (None, Outcome::Failed));
}

#[test]
fn nobody_looks_on_at_a_canary_that_is_dead_or_given_up() {
    let kill = [Action::KillCheck { process: CHECK }];
    let mut master = checked();
    let died = exited(1003, ExitStatus::Code(1));
    assert_eq!(without_log(master.tell(died)), kill);
    assert_eq!(turn_and_start(&mut master), starts(3..4, 1));
    check_ends(&mut master, ExitStatus::Code(0));
    assert!(!is_replacing(&master), "it was about another");
    let mut master = checked();
    assert_eq!(ask(&mut master, "abort"), kill);
    check_ends(&mut master, ExitStatus::Code(1));
    let mut master = checked();
    assert_eq!(master.signal(Signal::Term)[..1], kill);
    let mut master = checked();
    ask(&mut master, "upgrade");
    master.reexec();
    let stage = master.state.rollout.as_ref().unwrap().stage;
    assert_eq!(stage, RolloutStage::Canary { check: None });
}

#[test]
fn a_look_that_begins_too_late_is_ended() {
    let kill = [Action::KillCheck { process: CHECK }];
    let started = Event::CheckStarted { pid: CHECK };
    let mut master = looked_at();
    ask(&mut master, "abort");
    assert_eq!(without_log(master.tell(started.clone())), kill, "nobody waits for it");
    let mut master = looked_at();
    assert_eq!(master.turn_at(master.now_ms + 5_000), [], "there is nothing to end yet");
    assert_eq!(without_log(master.tell(started)), kill, "its time is over");
    // One that could not be started is not that of a canary that has come since.
    let mut master = looked_at();
    master.exit(1003);
    let not_started = Event::CheckNotStarted { why: "no such file".to_owned() };
    master.tell(not_started);
    assert_eq!(kind(&master.state), Some(RolloutKind::Smooth));
}

#[test]
fn all_of_a_fleet_must_have_been_up_for_so_long() {
    let mut master = manual(2, 2);
    set(&mut master, "canary_seconds: 30");
    ask(&mut master, "upgrade_fleet");
    master.reexec();
    assert_eq!(turn_and_start(&mut master), starts(2..4, 1));
    master.ack(&[1002]);
    master.now_ms += 1_000;
    master.ack(&[1003]);
    assert_eq!(turn(&mut master), []);
    let due_ms = master.now_ms + 30_000;
    assert_eq!(deadline_ms(&master.state), Some(due_ms));
    assert_eq!(master.turn_at(due_ms - 1), []);
    assert_eq!(master.turn_at(due_ms), told(&[1000, 1001]));
    assert_eq!(kind(&master.state), None);
}
