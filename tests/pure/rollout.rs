//! The rules of upgrades that end (docs/decisions/0010-upgrades-that-end.md), an example each. That
//! they hold together, whatever happens, is for `simulate`.

/// The first new worker, and who looks at it.
mod canary;
/// Who waits, and what programs are told.
mod clients;
/// Who asks while one is under way.
mod joins;

use einhorn::decide::{Action, Event, Level};
use einhorn::outcome::Outcome;
use einhorn::state::{
    EndedUpgrade, ExitStatus, Generation, Pid, RolloutKind, Signal, State, UpgradeKind,
};

use crate::example::{Master, ended, exited, fit, without_log};
use crate::upgrade::{ask, deadline_ms, kind, manual, starts, told, turn, upgrade_fleet};

/// Settings are changed.
fn set(master: &mut Master, settings: &str) {
    master.ask(&format!("{{command: config, args: ['{{{settings}}}']}}"));
}

/// A worker ends with this status, and nobody had told it to.
fn ends(master: &mut Master, pid: i32, status: ExitStatus) {
    assert_eq!(without_log(master.tell(exited(pid, status))), []);
}

/// What a turn orders is started. Answers everything that it did.
fn turn_and_start(master: &mut Master) -> Vec<Action> {
    let actions = turn(master);
    let is_start = |action: &&Action| matches!(action, Action::Spawn { .. });
    let orders: Vec<Action> = actions.iter().filter(is_start).cloned().collect();
    master.start(&orders);
    actions
}

/// How the last upgrade ended.
fn last(state: &State) -> &EndedUpgrade {
    state.last_upgrade.as_ref().unwrap()
}

/// A fleet of three is rolled out beside three old workers: 1003 is up, 1004 and 1005 are not.
fn fleet_of_three() -> Master {
    let mut master = manual(3, 3);
    upgrade_fleet(&mut master);
    assert_eq!(turn_and_start(&mut master), starts(3..6, 1));
    master.ack(&[1003]);
    assert_eq!(turn(&mut master), []);
    master
}

/// A smooth roll-out of three in its middle: of the old ones 1000 is gone, of the new ones 1003 is
/// up, and 1004 and 1005 are not.
fn half_way() -> Master {
    let mut master = manual(3, 3);
    master.upgrade();
    assert_eq!(turn_and_start(&mut master), starts(3..4, 1));
    master.ack(&[1003]);
    assert_eq!(turn_and_start(&mut master), [told(&[1000]), starts(4..6, 1)].concat());
    master.exit(1000);
    assert_eq!(turn(&mut master), []);
    master
}

#[test]
fn as_many_failures_as_may_be_end_it_in_the_next_turn() {
    let mut master = fleet_of_three();
    master.exit(1004);
    ends(&mut master, 1003, ExitStatus::Code(1));
    assert_eq!(turn(&mut master), []);
    master.exit(1005);
    assert_eq!(kind(&master.state), Some(RolloutKind::Fleet), "the next turn says so");
    assert_eq!(turn(&mut master), []);
    assert_eq!((kind(&master.state), master.state.generation), (None, Generation(0)));
    assert_eq!(master.state.newest_generation, Generation(1));
    assert_eq!(master.state.early_death_count, 0, "the streak was that of the new code");
    let last = last(&master.state);
    assert_eq!((last.kind, last.outcome), (UpgradeKind::Fleet, Outcome::Failed));
    let failed: Vec<_> = last.failures.iter().map(|f| (f.pid.unwrap().0, &*f.what)).collect();
    let due =
        [(1004, "exit status 1"), (1003, "exit status 1 after its ACK"), (1005, "exit status 1")];
    assert_eq!(failed, due);
    assert_eq!((last.generation, &*last.message), (Generation(1), MESSAGE));
}

const MESSAGE: &str = "Upgrade failed: 3 new workers failed; generation 0 is still serving";

#[test]
fn a_failure_is_told_once_and_named_in_the_log() {
    let mut master = fleet_of_three();
    for pid in [1004, 1003, 1005] {
        master.exit(pid);
    }
    let told = master.tell(Event::Turn);
    let first = "worker 1004 (slot 4): exit status 1, 0.000s old";
    let logged = format!("{MESSAGE}; the first failure: {first}");
    assert!(told.contains(&Action::Log { level: Level::Error, message: logged }), "{told:?}");
}

#[test]
fn new_workers_are_not_paced() {
    // As many workers as the pace would let start in some seconds, and no time goes by.
    let mut master = manual(8, 8);
    for generation in 1..=10 {
        ask(&mut master, "upgrade");
        master.reexec();
        let mut turns_left = 20;
        while kind(&master.state).is_some() {
            turn_and_start(&mut master);
            let workers = master.state.workers.clone();
            for (pid, worker) in workers {
                if worker.is_stopping() {
                    ends(&mut master, pid.0, ExitStatus::Code(0));
                } else if !worker.is_acked() {
                    master.ack(&[pid.0]);
                }
            }
            turns_left -= 1;
            assert!(turns_left > 0, "it waits until {:?}", deadline_ms(&master.state));
        }
        assert_eq!(last(&master.state).outcome, Outcome::Done, "upgrade {generation}");
    }
}

#[test]
fn the_failures_that_end_it_go_by_the_target() {
    let mut master = manual(3, 3);
    for (target, due) in [(1, 3), (30, 3), (31, 4), (100, 10)] {
        set(&mut master, &format!("number: {target}"));
        assert_eq!(master.state.failures_max(), due);
    }
    master.upgrade();
    assert_eq!(master.state.failures_max(), 3, "a canary is one, however many will follow");
    set(&mut master, "upgrade_max_failures: 1");
    assert_eq!(master.state.failures_max(), 1);
}

#[test]
fn a_start_that_fails_is_a_failure() {
    let mut master = manual(2, 2);
    set(&mut master, "upgrade_max_failures: 1");
    master.upgrade();
    assert_eq!(turn(&mut master), starts(2..3, 1));
    master.fail(2);
    assert_eq!(turn(&mut master), []);
    assert_eq!((last(&master.state).outcome, kind(&master.state)), (Outcome::Failed, None));
    assert_eq!(last(&master.state).failures[0].pid, None);
}

#[test]
fn whoever_was_told_to_go_and_whoever_recycles_itself_is_no_failure() {
    let mut master = half_way();
    ends(&mut master, 1004, ExitStatus::Code(0));
    assert_eq!(master.state.rollout.as_ref().unwrap().failure_count, 1, "it left at once");
    ends(&mut master, 1003, ExitStatus::Code(0));
    assert_eq!(master.state.rollout.as_ref().unwrap().failure_count, 2, "so did this, though up");
    let mut master = half_way();
    master.now_ms += 1000;
    ends(&mut master, 1003, ExitStatus::Code(1));
    assert_eq!(
        master.state.rollout.as_ref().unwrap().failure_count,
        1,
        "it has served, and failed"
    );
    let mut master = half_way();
    master.now_ms += 1000;
    ends(&mut master, 1003, ExitStatus::Code(0));
    set(&mut master, "number: 1");
    assert_eq!(turn(&mut master), told(&[1001, 1005]), "one too many of the old, and of the new");
    ends(&mut master, 1005, ExitStatus::Code(1));
    assert_eq!(master.state.rollout.as_ref().unwrap().failure_count, 0);
}

#[test]
fn those_that_are_up_stay_until_the_old_ones_serve_again() {
    let mut master = half_way();
    assert_eq!(ask(&mut master, "abort"), []);
    assert_eq!((kind(&master.state), master.state.generation), (None, Generation(0)));
    assert_eq!(last(&master.state).outcome, Outcome::Aborted);
    // 1001, 1002 and 1003 serve, as many as are wanted.
    assert_eq!(turn_and_start(&mut master), [told(&[1004, 1005]), starts(0..1, 0)].concat());
    assert_eq!(turn(&mut master), []);
    assert_eq!(master.state.capacity(), 3);
    master.ack(&[1000]);
    assert_eq!(turn(&mut master), told(&[1003]));
    assert_eq!(turn(&mut master), []);
}

#[test]
fn deaths_of_code_that_failed_say_nothing_of_the_old() {
    let mut master = half_way();
    ask(&mut master, "abort");
    master.exit(1004);
    assert_eq!(master.state.early_death_count, 0);
}

#[test]
fn the_old_come_back_though_those_that_were_told_to_go_drain() {
    let mut master = manual(3, 3);
    master.upgrade();
    assert_eq!(turn_and_start(&mut master), starts(3..4, 1));
    master.ack(&[1003]);
    assert_eq!(turn_and_start(&mut master), [told(&[1000]), starts(4..6, 1)].concat());
    ask(&mut master, "abort");
    let orders = turn_and_start(&mut master);
    assert_eq!(orders, [told(&[1004, 1005]), starts(6..7, 0)].concat(), "1000 still drains");
    master.ack(&[1006]);
    assert_eq!(turn(&mut master), told(&[1003]));
    // Beside the next canary it is the same.
    master.now_ms += 5_000;
    master.upgrade();
    assert_eq!(turn_and_start(&mut master), starts(7..8, 2));
    master.exit(1001);
    assert_eq!(turn(&mut master), starts(1..2, 0));
}

#[test]
fn an_old_worker_that_dies_after_a_failure_is_replaced_by_its_like() {
    let mut master = half_way();
    ask(&mut master, "abort");
    turn_and_start(&mut master);
    master.ack(&[1000]);
    assert_eq!(turn(&mut master), told(&[1003]));
    master.exit(1001);
    assert_eq!(turn(&mut master), starts(1..2, 0));
}

#[test]
fn an_ack_that_takes_too_long_is_a_failure_and_an_early_death() {
    for (timeout, kill_after_ms) in [("null", 10_000), ("2", 2_000), ("60", 10_000)] {
        let mut master = manual(2, 2);
        set(&mut master, &format!("ack_timeout: 5, signal_timeout: {timeout}"));
        master.upgrade();
        let began_ms = master.now_ms;
        assert_eq!(turn_and_start(&mut master), starts(2..3, 1));
        assert_eq!(deadline_ms(&master.state), Some(began_ms + 5_000));
        assert_eq!(master.turn_at(began_ms + 4_999), []);
        assert_eq!(master.turn_at(began_ms + 5_000), told(&[1002]));
        let rollout = master.state.rollout.as_ref().unwrap();
        assert_eq!((rollout.failure_count, &*rollout.failures[0].what), (1, "no ACK within 5s"));
        assert_eq!(master.state.early_death_count, 1);
        let kill_ms = began_ms + 5_000 + kill_after_ms;
        assert_eq!(deadline_ms(&master.state), Some(kill_ms), "nobody else until it is gone");
        let kill = Action::Signal { pid: Pid(1002), signal: Signal::Kill };
        assert_eq!(master.turn_at(kill_ms), [kill]);
        ends(&mut master, 1002, ExitStatus::Unknown);
        assert_eq!(master.state.rollout.as_ref().unwrap().failure_count, 1, "counted once");
        assert_eq!(turn(&mut master), starts(2..3, 1), "the back-off is over by now");
    }
}

#[test]
fn an_ack_may_take_any_time_without_an_upgrade_and_of_old_workers() {
    let mut master = manual(2, 2);
    set(&mut master, "ack_timeout: 5");
    master.exit(1000);
    assert_eq!(turn_and_start(&mut master), starts(0..1, 0));
    assert_eq!(master.turn_at(60_000), []);
    master.upgrade();
    assert_eq!(turn_and_start(&mut master), starts(2..3, 1));
    master.ack(&[1002]);
    assert_eq!(turn(&mut master), [told(&[1000]), starts(3..4, 1)].concat());
}

#[test]
fn a_timer_lets_no_ack_take_too_long() {
    let mut master = manual(2, 2);
    set(&mut master, "ack_timeout: 1, ack_mode: 10");
    master.upgrade();
    let began_ms = master.now_ms;
    assert_eq!(turn_and_start(&mut master), starts(2..3, 1));
    assert_eq!(deadline_ms(&master.state), Some(began_ms + 10_000));
    // Whoever waits is measured anew by every setting.
    set(&mut master, "ack_mode: manual");
    assert_eq!(deadline_ms(&master.state), Some(began_ms + 1_000));
}

#[test]
fn a_roll_out_that_takes_too_long_is_timed_out() {
    let mut master = half_way();
    let began_ms = master.now_ms;
    assert_eq!(deadline_ms(&master.state), Some(began_ms + 120_000), "the default of ACKs");
    set(&mut master, "upgrade_timeout: 60");
    assert_eq!(deadline_ms(&master.state), Some(began_ms + 60_000));
    assert_eq!(master.turn_at(began_ms + 59_999), []);
    let orders = master.turn_at(began_ms + 60_000);
    assert_eq!(orders, [told(&[1004, 1005]), starts(0..1, 0)].concat());
    assert_eq!((last(&master.state).outcome, kind(&master.state)), (Outcome::TimedOut, None));
}

#[test]
fn the_last_of_the_retries_ends_it_and_the_master_goes_on() {
    let mut master = manual(2, 2);
    set(&mut master, "retries: 1");
    master.upgrade();
    assert_eq!(turn_and_start(&mut master), starts(2..3, 1));
    master.exit(1002);
    assert!(master.state.has_given_up());
    assert_eq!(turn(&mut master), []);
    assert!(!master.state.has_given_up());
    assert_eq!(last(&master.state).outcome, Outcome::Failed);
    master.ask("{command: signal, args: [TERM]}");
    ends(&mut master, 1000, ExitStatus::Code(0));
    assert_eq!(turn(&mut master), starts(0..1, 0), "the old code is kept alive as ever");
}

#[test]
fn bounds_hold_for_a_roll_out_under_way() {
    let mut master = fleet_of_three();
    master.exit(1004);
    set(&mut master, "upgrade_max_failures: 1");
    assert_eq!(turn(&mut master), told(&[1005, 1003]), "of whom the last is the fourth that is up");
    assert_eq!(kind(&master.state), None);
}

#[test]
fn an_abort_ends_the_step_and_the_roll_out() {
    for has_rollout in [false, true] {
        for news in 0..3 {
            let mut master = if has_rollout { half_way() } else { manual(3, 3) };
            assert_eq!(ask(&mut master, "upgrade").len(), 1, "a candidate is asked");
            if news > 0 {
                master.tell(Event::PreflightStarted { pid: Pid(2000), deployment: None });
            }
            if news > 1 {
                master.tell(ended(ExitStatus::Code(0), Some(fit()), ""));
            }
            let kill = if news < 2 { &[Action::KillPreflight][..] } else { &[] };
            assert_eq!(ask(&mut master, "abort"), kill);
            assert_eq!((master.state.reexec, kind(&master.state)), (None, None));
            assert_eq!(master.state.generation, Generation(0));
            assert_eq!(last(&master.state).outcome, Outcome::Aborted);
            if news < 2 {
                let ended = ended(ExitStatus::Code(0), Some(fit()), "");
                assert_eq!(without_log(master.tell(ended)), [], "too late to hand over");
            }
        }
    }
}

#[test]
fn a_number_is_given_once_and_a_failure_goes_back_to_who_served() {
    let mut master = half_way();
    ask(&mut master, "upgrade");
    master.reexec();
    let generations = |master: &Master| {
        let state = &master.state;
        (state.generation.0, state.newest_generation.0, state.rollout.as_ref().map(|r| r.from.0))
    };
    assert_eq!(generations(&master), (2, 2, Some(0)));
    ask(&mut master, "abort");
    assert_eq!(generations(&master), (0, 2, None));
    // Of the first roll-out, which neither the second nor its failure has told to go.
    assert_eq!(turn_and_start(&mut master), [told(&[1004, 1005]), starts(0..1, 0)].concat());
    ask(&mut master, "upgrade_fleet");
    master.reexec();
    assert_eq!(generations(&master), (3, 3, Some(0)));
}

#[test]
fn a_reload_in_the_middle_changes_nothing() {
    let mut master = half_way();
    set(&mut master, "upgrade_timeout: 60");
    let before = master.state.rollout.clone();
    let due_ms = deadline_ms(&master.state);
    master.now_ms += 5_000;
    ask(&mut master, "reload");
    master.reexec();
    assert_eq!(master.state.rollout, before);
    assert_eq!(deadline_ms(&master.state), due_ms, "nothing begins anew");
}

#[test]
fn a_stop_in_the_middle_stops_all_of_them() {
    let mut master = half_way();
    let term = |pid: i32| Action::Signal { pid: Pid(pid), signal: Signal::Term };
    assert_eq!(master.signal(Signal::Term), [1001, 1002, 1003, 1004, 1005].map(term));
    assert_eq!((kind(&master.state), last(&master.state).outcome), (None, Outcome::Aborted));
    assert_eq!(turn(&mut master), []);
    assert_eq!(deadline_ms(&master.state), None);
}

#[test]
fn an_upgrade_after_a_failure_is_one_like_any_other() {
    let mut master = half_way();
    ask(&mut master, "abort");
    turn_and_start(&mut master);
    master.exit(1004);
    master.exit(1005);
    upgrade_fleet(&mut master);
    assert_eq!(turn_and_start(&mut master), starts(4..7, 2));
    master.ack(&[1004, 1005, 1006]);
    assert_eq!(turn(&mut master), told(&[1000, 1001, 1002, 1003]), "of two other codes");
    assert_eq!(last(&master.state).outcome, Outcome::Done);
}

#[test]
fn more_failures_are_counted_than_told_of() {
    let mut master = manual(12, 12);
    set(&mut master, "upgrade_max_failures: 12");
    upgrade_fleet(&mut master);
    assert_eq!(turn_and_start(&mut master), starts(12..24, 1));
    (1012..1022).for_each(|pid| master.exit(pid));
    let rollout = master.state.rollout.as_ref().unwrap();
    assert_eq!((rollout.failure_count, rollout.failures.len()), (10, 8));
}

#[test]
fn new_code_brings_a_master_out_of_retries_one_attempt() {
    let mut master = manual(2, 2);
    set(&mut master, "retries: 3");
    master.state.early_death_count = 3;
    assert!(master.state.has_given_up());
    master.upgrade();
    assert_eq!(master.state.early_death_count, 2);
}

#[test]
fn what_a_fleet_had_still_to_start_is_not_started_of_the_old_code() {
    let mut master = manual(3, 1);
    upgrade_fleet(&mut master);
    for pid in 1000..1003 {
        master.exit(pid);
    }
    ask(&mut master, "abort");
    assert_eq!(turn(&mut master), starts(0..1, 0), "one waits for its ACK");
}

#[test]
fn it_took_as_long_as_since_it_was_asked_for() {
    let mut master = manual(1, 1);
    master.signal(Signal::Hup);
    master.now_ms += 700;
    master.reexec();
    master.now_ms += 300;
    ask(&mut master, "abort");
    assert_eq!(last(&master.state).took, std::time::Duration::from_secs(1));
}
