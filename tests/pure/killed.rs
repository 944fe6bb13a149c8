//! Workers that are killed instead of draining, and what is told of them: an example for each rule.

use einhorn::decide::{Action, Event, Inspection, next_deadline};
use einhorn::outcome::Outcome;
use einhorn::state::{
    AckMode, Config, ConnectionId, Disposition, EndedUpgrade, ExitStatus, Monotonic, Pid, Signal,
    Slot, StopSchedule,
};

use crate::example::{Master, config, exited};

/// A worker that serves, and that does this with the signal that asks it to stop.
fn up(disposition: Option<Disposition>, stop: Option<&str>) -> Master {
    let stop = stop.map(|text| StopSchedule::parse(text).unwrap());
    let mut master = Master::started(Config { ack_mode: AckMode::Manual, stop, ..config(1) });
    master.inspection = Inspection { disposition, program: Some("web".to_owned()) };
    master.ack(&[1000]);
    master
}

/// The same, with a new worker 1001 that is up: the old one was asked to stop.
fn replaced(disposition: Option<Disposition>, stop: Option<&str>) -> Master {
    let mut master = up(disposition, stop);
    master.upgrade();
    let orders = master.turn_at(0);
    master.start(&orders);
    master.ack(&[1001]);
    master.turn_at(0);
    master
}

fn by(signal: Signal) -> ExitStatus {
    ExitStatus::Killed { number: 1, signal: Some(signal), core_dumped: false }
}

/// How the upgrade ended, if it did.
fn ended(master: &Master) -> Option<&EndedUpgrade> {
    master.state.last_upgrade.as_ref()
}

const NO_HANDLER: Option<Disposition> = Some(Disposition::Default);

#[test]
fn the_end_waits_for_a_worker_that_is_expected_to_die() {
    let mut master = replaced(NO_HANDLER, None);
    assert_eq!((ended(&master), master.state.rollout.as_ref()), (None, None));
    assert_eq!(next_deadline(&master.state), Some(Monotonic(1_000_000_000)));
    master.tell(exited(1000, by(Signal::Usr2)));
    master.turn_at(3);
    let ended = ended(&master).unwrap();
    let why = "Upgrade done: 1 worker of generation 1 in 0.00s, but 1 old worker was killed \
               instead of draining: web has no handler for USR2 (see --stop)";
    assert_eq!((ended.outcome, ended.message.as_str()), (Outcome::Killed, why));
}

#[test]
fn the_end_waits_for_a_second_at_most() {
    let mut master = replaced(NO_HANDLER, None);
    master.turn_at(999);
    assert_eq!(ended(&master), None);
    master.turn_at(1000);
    assert_eq!(ended(&master).unwrap().outcome, Outcome::Done);
    assert_eq!(master.state.last_upgrade.as_ref().unwrap().killed_later_count, 0);
    master.tell(exited(1000, by(Signal::Usr2)));
    assert_eq!(master.state.last_upgrade.as_ref().unwrap().killed_later_count, 1);
}

#[test]
fn the_end_waits_for_nobody_who_has_a_handler_or_ignores_the_signal() {
    for found in [Disposition::Caught, Disposition::Blocked, Disposition::Ignored] {
        let master = replaced(Some(found), None);
        assert_eq!(ended(&master).unwrap().outcome, Outcome::Done, "{found:?}");
    }
    assert_eq!(ended(&replaced(None, None)).unwrap().outcome, Outcome::Done);
}

#[test]
fn who_has_a_handler_and_ends_by_the_signal_has_drained() {
    for (found, killed) in [
        (Some(Disposition::Caught), 0),
        (Some(Disposition::Blocked), 1),
        (Some(Disposition::Ignored), 1),
        (None, 1),
    ] {
        let mut master = replaced(found, None);
        master.tell(exited(1000, by(Signal::Usr2)));
        assert_eq!(ended(&master).unwrap().killed_later_count, killed, "{found:?}");
    }
}

#[test]
fn other_ends_are_no_alarm() {
    // By another's signal, by none, of a worker that never served, and by a signal of `die`.
    for status in [by(Signal::Kill), by(Signal::Term), ExitStatus::Code(3)] {
        let mut master = replaced(NO_HANDLER, None);
        master.tell(exited(1000, status));
        master.turn_at(1);
        assert_eq!(ended(&master).unwrap().outcome, Outcome::Done, "{status:?}");
    }
    let mut master = up(NO_HANDLER, None);
    master.ask("{command: die, args: [TERM]}");
    let told = master.tell(exited(1000, by(Signal::Term)));
    assert!(!format!("{told:?}").contains("instead of draining"), "{told:?}");
}

#[test]
fn kill_at_the_end_of_the_schedule_counts_unless_it_is_its_begin() {
    let mut master = replaced(Some(Disposition::Caught), Some("TERM/2/KILL"));
    assert_eq!(ended(&master).unwrap().outcome, Outcome::Done);
    let kill = Action::Signal { pid: Pid(1000), signal: Signal::Kill };
    assert_eq!(master.turn_at(2000), [kill]);
    master.tell(exited(1000, by(Signal::Kill)));
    assert_eq!(ended(&master).unwrap().killed_later_count, 1);

    let mut master = replaced(None, Some("KILL"));
    master.tell(exited(1000, by(Signal::Kill)));
    master.turn_at(1);
    assert_eq!(ended(&master).unwrap().outcome, Outcome::Done);
    assert_eq!(ended(&master).unwrap().killed_later_count, 0);
}

#[test]
fn another_upgrade_does_not_wait_for_the_end_of_the_one_before() {
    let mut master = replaced(NO_HANDLER, None);
    // A second after the last re-exec.
    master.now_ms = 1500;
    master.upgrade();
    let ended = ended(&master).unwrap();
    assert_eq!((ended.outcome, ended.generation.0), (Outcome::Done, 1));
    assert!(master.state.rollout.is_some());
}

#[test]
fn a_stopping_master_tells_the_end_first() {
    let mut master = replaced(NO_HANDLER, None);
    master.signal(Signal::Usr2);
    assert_eq!(ended(&master).unwrap().outcome, Outcome::Done);
    assert_eq!(master.state.ending_upgrade, None);
}

#[test]
fn another_schedule_is_looked_up_anew() {
    let mut master = up(NO_HANDLER, None);
    master.inspection.disposition = Some(Disposition::Caught);
    master.ask("{command: config, args: ['{stop: TERM/9/KILL}']}");
    let found = |master: &Master| master.state.workers[&Pid(1000)].disposition;
    assert_eq!(found(&master), Some(Disposition::Caught));
    // The same first signal says the same, and of KILL there is nothing to say.
    master.inspection.disposition = NO_HANDLER;
    master.ask("{command: config, args: ['{stop: TERM/8/KILL}']}");
    assert_eq!(found(&master), Some(Disposition::Caught));
    master.ask("{command: config, args: ['{stop: KILL}']}");
    assert_eq!(found(&master), None);
}

#[test]
fn what_is_found_right_before_the_signal_counts() {
    let mut master = up(NO_HANDLER, None);
    master.upgrade();
    let orders = master.turn_at(0);
    master.start(&orders);
    // It has set up a handler since its ACK.
    master.inspection.disposition = Some(Disposition::Caught);
    master.ack(&[1001]);
    master.turn_at(0);
    assert_eq!(ended(&master).unwrap().outcome, Outcome::Done);
    master.tell(Event::Exited {
        pid: Pid(1000),
        status: by(Signal::Usr2),
        last_words: Vec::new(),
        left: None,
    });
    assert_eq!(ended(&master).unwrap().killed_later_count, 0);
}

/// What a client is told at once, or of what it waits for.
fn told(actions: &[Action]) -> (bool, String) {
    let reply = actions.iter().find_map(|action| match action {
        Action::Reply { reply, .. } => Some((reply.wait, reply.message.clone())),
        _ => None,
    });
    reply.unwrap_or_else(|| panic!("no reply: {actions:?}"))
}

const WAIT: &str = "{command: wait, args: [--drained]}";

/// A client is there.
fn connected(mut master: Master) -> Master {
    master.tell(Event::Opened { connection: ConnectionId(1) });
    master
}

#[test]
fn who_waits_for_old_workers_hears_of_earlier_kills() {
    let mut master = connected(replaced(Some(Disposition::Caught), Some("TERM/2/KILL")));
    master.turn_at(2000);
    assert_eq!(told(&master.ask(WAIT)), (true, "Waiting for the old workers".to_owned()));
    master.tell(exited(1000, by(Signal::Kill)));
    let due = "Upgrade done: all workers before generation 1 are gone after 2.00s, but 1 worker \
               was killed instead of draining (see the log)";
    assert_eq!(told(&master.turn_at(2000)), (false, due.to_owned()));
    let (waits, how) = told(&master.ask(WAIT));
    let due = "after its end 1 old worker was killed instead of draining";
    assert!(!waits && how.ends_with(due), "{how}");

    // One of two was killed before anybody waited.
    let stop = StopSchedule::parse("TERM/2/KILL").unwrap();
    let (ack_mode, stop) = (AckMode::Manual, Some(stop));
    let mut master = connected(Master::started(Config { ack_mode, stop, ..config(2) }));
    master.ack(&[1000, 1001]);
    master.upgrade();
    for pid in [1002, 1003] {
        let mut orders = master.turn_at(0);
        orders.retain(|order| matches!(order, Action::Spawn { .. }));
        master.start(&orders);
        master.ack(&[pid]);
    }
    master.turn_at(0);
    master.turn_at(2000);
    master.tell(exited(1000, by(Signal::Kill)));
    assert!(told(&master.ask(WAIT)).0);
    master.tell(exited(1001, ExitStatus::Code(0)));
    let (_, how) = told(&master.turn_at(2000));
    assert!(how.ends_with("1 worker was killed instead of draining (see the log)"), "{how}");
}

#[test]
fn who_waits_for_the_end_of_a_failed_upgrade_hears_that_it_failed() {
    let mut master = connected(up(Some(Disposition::Caught), None));
    master.upgrade();
    let orders = master.turn_at(0);
    master.start(&orders);
    master.ask("{command: abort}");
    master.turn_at(0);
    assert!(master.state.is_draining(), "the new worker is asked to stop");
    let (waits, how) = told(&master.ask(WAIT));
    assert!(!waits && how.starts_with("How the last upgrade ended: Upgrade aborted"), "{how}");
}

#[test]
fn who_dies_of_a_signal_that_could_not_be_sent_is_no_alarm() {
    let mut master = up(NO_HANDLER, None);
    master.upgrade();
    let orders = master.turn_at(0);
    master.start(&orders);
    master.refused = Some(Pid(1000));
    master.ack(&[1001]);
    master.turn_at(0);
    // Somebody else has sent it.
    master.tell(exited(1000, by(Signal::Usr2)));
    assert_eq!(ended(&master).unwrap().killed_count(), 0);
}

#[test]
fn what_a_worker_does_with_another_signal_says_nothing_of_the_first() {
    let mut master = up(Some(Disposition::Caught), None);
    master.inspection.disposition = NO_HANDLER;
    master.ask("{command: die, args: [TERM]}");
    assert_eq!(master.state.workers[&Pid(1000)].disposition, Some(Disposition::Caught));
}

#[test]
fn all_who_wait_for_old_workers_hear_of_theirs_only() {
    let mut master = connected(replaced(Some(Disposition::Ignored), None));
    assert!(told(&master.ask(WAIT)).0);
    // A second after the last re-exec.
    master.now_ms = 1500;
    master.upgrade();
    master.turn_at(1500);
    let (slot, pid) = (Slot(2), Pid(1002));
    master.tell(Event::Spawned { slot, pid, connection: None, directory: None });
    master.ack(&[1002]);
    master.turn_at(1500);
    assert!(told(&master.ask(WAIT)).0);
    master.tell(exited(1001, by(Signal::Usr2)));
    let counts = master.state.waiters.iter().map(|waiter| waiter.killed_count);
    assert_eq!(counts.collect::<Vec<_>>(), [0, 1]);
    master.tell(exited(1000, ExitStatus::Code(0)));
    master.turn_at(1500);
    assert_eq!(master.state.waiters, []);
}

#[test]
fn who_waits_for_old_workers_of_a_stopping_master_is_told_at_once() {
    let mut master = connected(replaced(Some(Disposition::Caught), Some("TERM/900/KILL")));
    master.signal(Signal::Usr2);
    let due = (false, "Not drained: the master is going down".to_owned());
    assert_eq!(told(&master.ask(WAIT)), due);
    assert_eq!(master.state.waiters, []);
}

#[test]
fn a_failed_upgrade_is_told_although_workers_that_an_earlier_one_replaced_still_drain() {
    let mut master = connected(replaced(Some(Disposition::Caught), None));
    // A second after the last re-exec.
    master.now_ms = 1500;
    master.upgrade();
    let orders = master.turn_at(1500);
    master.start(&orders);
    master.ask("{command: abort}");
    master.turn_at(1500);
    assert!(master.state.workers[&Pid(1000)].generation < master.state.generation);
    let (waits, how) = told(&master.ask(WAIT));
    assert!(!waits && how.starts_with("How the last upgrade ended: Upgrade aborted"), "{how}");
}
