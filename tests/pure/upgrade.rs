//! The rules of upgrades (behaviour.md sections 5 and 6, docs/handover.md), an example each. That
//! they hold together, whatever happens, is for `simulate`.

mod older;
mod outcomes;

use std::ops::Range;

use einhorn::decide::{Action, Event, HUP_PAUSE, PREFLIGHT_MAX, next_deadline};
use einhorn::state::{
    AckMode, Config, ConnectionId, ExitStatus, Generation, Monotonic, Pid, RolloutKind, Signal,
    Slot, State,
};

use crate::example::{Master, adopted, config, ended, fit, without_log};

/// `-m manual` and nobody up before a test says so; old workers 1000 and on are up.
pub(crate) fn manual(target: u32, max_unacked: u32) -> Master {
    let (ack_mode, max_unacked) = (AckMode::Manual, Some(max_unacked));
    let mut master = Master::started(Config { ack_mode, max_unacked, ..config(target) });
    let old: Vec<i32> = master.state.workers.keys().map(|pid| pid.0).collect();
    master.ack(&old);
    // Nobody is told how it goes on, unless a test opens connections of its own.
    master.now_ms = 10_000;
    master
}

/// The roll-out under way.
pub(crate) fn kind(state: &State) -> Option<RolloutKind> {
    state.rollout.as_ref().map(|rollout| rollout.kind)
}

/// Somebody asks and does not wait.
pub(crate) fn ask(master: &mut Master, command: &str) -> Vec<Action> {
    let connection = ConnectionId(1);
    master.tell(Event::Opened { connection });
    let mut actions = master.ask(&format!("{{command: {command}}}"));
    master.tell(Event::Closed { connection });
    actions.retain(|action| !matches!(action, Action::Reply { .. }));
    actions
}

/// A fleet upgrade, up to its first worker.
pub(crate) fn upgrade_fleet(master: &mut Master) {
    ask(master, "upgrade_fleet");
    master.reexec();
}

/// What a turn does now.
pub(crate) fn turn(master: &mut Master) -> Vec<Action> {
    master.turn_at(master.now_ms)
}

/// That these indexes are started with the code of this generation.
pub(crate) fn starts(slots: Range<u32>, generation: u32) -> Vec<Action> {
    let generation = Generation(generation);
    slots.map(|slot| Action::Spawn { slot: Slot(slot), generation }).collect()
}

/// That these workers are told to go.
pub(crate) fn told(pids: &[i32]) -> Vec<Action> {
    let signal = Signal::Usr2;
    pids.iter().map(|pid| Action::Signal { pid: Pid(*pid), signal }).collect()
}

fn asks() -> [Action; 1] {
    [Action::StartPreflight]
}

/// When the master wants to be woken, in milliseconds since it began.
pub(crate) fn deadline_ms(state: &State) -> Option<u64> {
    next_deadline(state).map(|Monotonic(nanos)| nanos / 1_000_000)
}

#[test]
fn a_smooth_upgrade_replaces_them_one_by_one() {
    let mut master = manual(3, 1);
    master.upgrade();
    assert_eq!(kind(&master.state), Some(RolloutKind::Smooth));
    let orders = turn(&mut master);
    assert_eq!(orders, starts(3..4, 1));
    master.start(&orders);
    assert_eq!(turn(&mut master), [], "one waits for its ACK");
    master.ack(&[1003]);
    let orders = turn(&mut master);
    assert_eq!(orders, [told(&[1000]), starts(4..5, 1)].concat());
    master.start(&orders[1..]);
    master.exit(1000);
    master.ack(&[1004]);
    let orders = turn(&mut master);
    assert_eq!(orders, [told(&[1001]), starts(0..1, 1)].concat());
    master.start(&orders[1..]);
    master.ack(&[1000]);
    assert_eq!(turn(&mut master), told(&[1002]));
    assert_eq!((kind(&master.state), master.state.generation), (None, Generation(1)));
    assert_eq!(turn(&mut master), []);
}

#[test]
fn old_workers_that_are_not_up_go_first() {
    let mut master = manual(3, 3);
    master.exit(1001);
    let orders = turn(&mut master);
    assert_eq!(orders, starts(1..2, 0));
    master.start(&orders);
    master.upgrade();
    let orders = turn(&mut master);
    assert_eq!(orders, starts(3..4, 1), "the canary");
    master.start(&orders);
    master.ack(&[1003]);
    let orders = turn(&mut master);
    assert_eq!(orders, [told(&[1001]), starts(4..6, 1)].concat());
    master.start(&orders[1..]);
    master.ack(&[1004]);
    assert_eq!(turn(&mut master), told(&[1000]));
}

#[test]
fn a_fleet_starts_at_once_and_the_old_go_when_all_are_up() {
    let mut master = manual(3, 1);
    upgrade_fleet(&mut master);
    assert_eq!(kind(&master.state), Some(RolloutKind::Fleet));
    let orders = turn(&mut master);
    assert_eq!(orders, starts(3..6, 1));
    master.start(&orders);
    master.ack(&[1003, 1005]);
    assert_eq!(turn(&mut master), []);
    master.ack(&[1004]);
    assert_eq!(turn(&mut master), told(&[1000, 1001, 1002]));
    assert_eq!(master.state.rollout, None);
}

#[test]
fn a_fleet_without_room_beside_the_old_comes_in_waves() {
    let mut master = manual(4, 1);
    master.ask("{command: config, args: ['{max_upgrade_additional: 2}']}");
    upgrade_fleet(&mut master);
    let orders = turn(&mut master);
    assert_eq!(orders, starts(4..6, 1));
    master.start(&orders);
    assert_eq!(turn(&mut master), []);
    master.ack(&[1004, 1005]);
    let orders = turn(&mut master);
    assert_eq!(orders, [told(&[1000, 1001]), starts(6..8, 1)].concat());
    master.start(&orders[2..]);
    master.ack(&[1006]);
    assert_eq!(turn(&mut master), [], "the rest has room, so the old wait for all of it");
    master.ack(&[1007]);
    assert_eq!(turn(&mut master), told(&[1002, 1003]));
}

#[test]
fn a_roll_out_stays_within_its_additional_workers() {
    let mut master = manual(3, 3);
    master.ask("{command: config, args: ['{max_upgrade_additional: 1}']}");
    master.upgrade();
    let orders = turn(&mut master);
    assert_eq!(orders, starts(3..4, 1));
    master.start(&orders);
    assert_eq!(turn(&mut master), []);
    master.ack(&[1003]);
    let orders = turn(&mut master);
    // Who was told to go makes room at once, or a slow drain would hold up the roll-out.
    assert_eq!(orders, [told(&[1000]), starts(4..5, 1)].concat());
}

#[test]
fn an_old_worker_that_dies_beside_a_canary_is_replaced_by_its_own_code() {
    let mut master = manual(2, 1);
    master.upgrade();
    let orders = turn(&mut master);
    master.start(&orders);
    master.exit(1000);
    let orders = turn(&mut master);
    assert_eq!(orders, starts(0..1, 0), "though one new one waits for its ACK");
    assert_eq!(master.state.early_death_count, 0);
    master.start(&orders);
    master.exit(1001);
    assert_eq!(turn(&mut master), [], "one old one waits for its ACK too");
}

#[test]
fn an_old_worker_that_dies_after_the_canary_is_not_replaced_by_another() {
    let mut master = manual(3, 1);
    master.upgrade();
    let orders = turn(&mut master);
    master.start(&orders);
    master.ack(&[1003]);
    let orders = turn(&mut master);
    assert_eq!(orders, [told(&[1000]), starts(4..5, 1)].concat());
    master.start(&orders[1..]);
    master.exit(1001);
    assert_eq!(turn(&mut master), [], "one new one waits for its ACK");
    assert_eq!(master.state.early_death_count, 0);
    master.ack(&[1004]);
    assert_eq!(turn(&mut master), starts(1..2, 1), "1002 to 1004 are not too many");
}

#[test]
fn new_workers_that_die_are_tried_again_and_the_old_serve_on() {
    let mut master = manual(2, 2);
    master.upgrade();
    let orders = turn(&mut master);
    master.start(&orders);
    master.exit(1002);
    assert_eq!(turn(&mut master), []);
    assert_eq!(deadline_ms(&master.state), Some(11_500), "1.5 seconds after the start");
    let orders = master.turn_at(11_500);
    assert_eq!(orders, starts(2..3, 1));
    master.start(&orders);
    master.exit(1002);
    assert_eq!(deadline_ms(&master.state), Some(13_750), "1.5² seconds after the start");
    assert_eq!(master.state.capacity(), 2);
}

#[test]
fn the_back_off_survives_an_upgrade() {
    let mut master = manual(2, 2);
    let started_ms = master.now_ms;
    master.exit(1000);
    let orders = turn(&mut master);
    master.start(&orders);
    master.exit(1000);
    assert_eq!(deadline_ms(&master.state), Some(started_ms + 1500));
    master.now_ms += 700;
    master.upgrade();
    assert_eq!(master.state.early_death_count, 1);
    assert_eq!(turn(&mut master), []);
    assert_eq!(master.turn_at(started_ms + 1500), starts(0..1, 1));
}

#[test]
fn an_upgrade_in_a_roll_out_starts_over_with_the_newest_code() {
    let mut master = manual(3, 3);
    master.upgrade();
    let orders = turn(&mut master);
    master.start(&orders);
    master.ack(&[1003]);
    let orders = turn(&mut master);
    assert_eq!(orders, [told(&[1000]), starts(4..6, 1)].concat());
    master.start(&orders[1..]);
    master.now_ms += 5_000;
    ask(&mut master, "upgrade");
    master.reexec();
    assert_eq!(master.state.generation, Generation(2));
    // 1001 to 1003 serve; 1004 and 1005 are old now, and never were up.
    let orders = turn(&mut master);
    assert_eq!(orders, [told(&[1004, 1005]), starts(6..7, 2)].concat());
    master.start(&orders[2..]);
    master.ack(&[1006]);
    // 1001 and 1002 would serve again if this one failed as well.
    let orders = turn(&mut master);
    assert_eq!(orders, [told(&[1003]), starts(7..9, 2)].concat());
    master.start(&orders[1..]);
    master.ack(&[1007, 1008]);
    assert_eq!(turn(&mut master), told(&[1001, 1002]));
}

#[test]
fn a_reload_replaces_nobody_and_stops_no_roll_out() {
    let mut master = manual(2, 1);
    ask(&mut master, "reload");
    master.reexec();
    assert_eq!((kind(&master.state), master.state.generation), (None, Generation(0)));
    assert_eq!(turn(&mut master), []);
    upgrade_fleet(&mut master);
    ask(&mut master, "reload");
    master.reexec();
    assert_eq!(kind(&master.state), Some(RolloutKind::Fleet));
    assert_eq!(master.state.reexec_count, 3);
    assert_eq!(turn(&mut master), starts(2..4, 1), "still all at once");
}

#[test]
fn a_smaller_target_ends_a_roll_out_by_those_that_stay() {
    let mut master = manual(4, 4);
    upgrade_fleet(&mut master);
    let orders = turn(&mut master);
    master.start(&orders);
    master.ack(&[1004, 1005]);
    master.ask("{command: set_workers, args: ['3']}");
    assert_eq!(turn(&mut master), told(&[1007]));
    // One that was told to go says that it is up; it will not serve.
    master.ack(&[1007]);
    assert_eq!(turn(&mut master), []);
    assert_eq!(kind(&master.state), Some(RolloutKind::Fleet));
    master.ack(&[1006]);
    assert_eq!(turn(&mut master), told(&[1000, 1001, 1002, 1003]));
}

#[test]
fn hangups_after_a_reexec_wait_a_second_and_make_one_upgrade() {
    let mut master = manual(1, 1);
    master.upgrade();
    let pause_ends = master.now_ms + u64::try_from(HUP_PAUSE.as_millis()).unwrap();
    let orders = turn(&mut master);
    master.start(&orders);
    for _ in 0..3 {
        master.now_ms += 100;
        assert_eq!(master.signal(Signal::Hup), []);
    }
    assert_eq!(deadline_ms(&master.state), Some(pause_ends));
    assert_eq!(master.turn_at(pause_ends - 1), []);
    assert_eq!(master.turn_at(pause_ends), asks());
    assert_eq!(master.signal(Signal::Hup), [], "it joins");
    master.reexec();
    assert_eq!(master.state.generation, Generation(2));
}

#[test]
fn clients_do_not_wait_for_a_second() {
    let mut master = manual(1, 1);
    master.upgrade();
    assert_eq!(ask(&mut master, "upgrade"), asks());
}

#[test]
fn a_reload_takes_along_the_upgrade_that_was_put_off() {
    let mut master = manual(1, 1);
    master.upgrade();
    master.signal(Signal::Hup);
    assert_eq!(ask(&mut master, "reload"), asks());
    master.reexec();
    assert_eq!(master.state.generation, Generation(2));
    assert_eq!(master.state.upgrade_due_at, None);
}

#[test]
fn whoever_asks_last_says_how_but_a_reload_takes_no_roll_out_away() {
    let mut master = manual(1, 1);
    assert_eq!(ask(&mut master, "reload"), asks());
    // The reload has looked up no code.
    let anew = [&[Action::KillPreflight][..], &asks()].concat();
    assert_eq!(ask(&mut master, "upgrade"), anew);
    assert_eq!(ask(&mut master, "upgrade_fleet"), []);
    assert_eq!(ask(&mut master, "reload"), []);
    master.reexec();
    assert_eq!(kind(&master.state), Some(RolloutKind::Fleet));
}

#[test]
fn a_candidate_that_takes_too_long_is_ended_once() {
    let mut master = manual(1, 1);
    master.signal(Signal::Hup);
    master.tell(Event::PreflightStarted { pid: Pid(2000), deployment: None });
    let due_ms = master.now_ms + u64::try_from(PREFLIGHT_MAX.as_millis()).unwrap();
    assert_eq!(deadline_ms(&master.state), Some(due_ms));
    assert_eq!(master.turn_at(due_ms - 1), []);
    assert_eq!(master.turn_at(due_ms), [Action::KillPreflight]);
    assert_eq!(master.turn_at(due_ms + 1), []);
    assert_eq!(deadline_ms(&master.state), None);
    // Even if it says that all is well at the last moment.
    assert_eq!(without_log(master.tell(ended(ExitStatus::Code(0), Some(fit()), ""))), []);
    assert_eq!(master.state.reexec, None);
}

#[test]
fn a_stop_ends_the_candidate_wherever_it_is() {
    for news in 0..3 {
        let mut master = manual(1, 1);
        master.signal(Signal::Hup);
        if news > 0 {
            master.tell(Event::PreflightStarted { pid: Pid(2000), deployment: None });
        }
        if news > 1 {
            master.tell(ended(ExitStatus::Code(0), Some(fit()), ""));
        }
        let term = [Action::Signal { pid: Pid(1000), signal: Signal::Term }];
        let ends = if news < 2 { &[Action::KillPreflight][..] } else { &[] };
        assert_eq!(master.signal(Signal::Term), [ends, &term].concat());
        assert_eq!(master.state.reexec, None);
        if news == 0 {
            let started = Event::PreflightStarted { pid: Pid(2000), deployment: None };
            assert_eq!(without_log(master.tell(started)), [Action::KillPreflight]);
        }
        if news < 2 {
            let ended = ended(ExitStatus::Code(0), Some(fit()), "");
            assert_eq!(without_log(master.tell(ended)), [], "too late to hand over");
        }
        assert_eq!(turn(&mut master), []);
    }
}

#[test]
fn a_stopping_master_is_asked_in_vain_and_not_woken() {
    let mut master = manual(1, 1);
    master.upgrade();
    master.signal(Signal::Term);
    assert_eq!(master.signal(Signal::Hup), []);
    assert_eq!(ask(&mut master, "upgrade"), []);
    assert_eq!(deadline_ms(&master.state), None);
    assert_eq!(master.turn_at(60_000), []);
    let mut master = manual(1, 1);
    master.upgrade();
    master.signal(Signal::Hup);
    assert!(deadline_ms(&master.state).is_some());
    master.signal(Signal::Term);
    assert_eq!(deadline_ms(&master.state), None, "nor for what was put off");
}

#[test]
fn a_failed_exec_changes_nothing() {
    let mut master = manual(1, 1);
    let before = master.state.clone();
    master.signal(Signal::Hup);
    master.tell(Event::PreflightStarted { pid: Pid(2000), deployment: None });
    master.tell(ended(ExitStatus::Code(0), Some(fit()), ""));
    master.tell(Event::HandOverFailed { why: "no such file".to_owned() });
    assert_eq!(State { last_upgrade: None, ..master.state.clone() }, before);
    assert_eq!(master.signal(Signal::Hup), asks(), "and it may be tried again at once");
}

#[test]
fn a_rollback_changes_nothing_and_is_not_tried_again_at_once() {
    let mut master = manual(1, 1);
    master.signal(Signal::Hup);
    master.tell(Event::PreflightStarted { pid: Pid(2000), deployment: None });
    master.tell(ended(ExitStatus::Code(0), Some(fit()), ""));
    master.tell(Event::RolledBack { why: "it does not like us".to_owned() });
    assert_eq!((master.state.reexec_count, master.state.generation), (0, Generation(0)));
    assert_eq!((master.state.reexec, kind(&master.state)), (None, None));
    assert_eq!(turn(&mut master), []);
    assert_eq!(deadline_ms(&master.state), None);
    assert_eq!(master.signal(Signal::Hup), []);
    assert_eq!(master.turn_at(master.now_ms + 1000), asks());
}

#[test]
fn deaths_across_the_exec_are_told_first() {
    let mut master = manual(2, 2);
    master.signal(Signal::Hup);
    master.tell(Event::PreflightStarted { pid: Pid(2000), deployment: None });
    master.tell(ended(ExitStatus::Code(0), Some(fit()), ""));
    master.exit(1000);
    master.tell(adopted());
    assert_eq!(turn(&mut master), [starts(0..1, 1), starts(2..3, 0)].concat());
}
