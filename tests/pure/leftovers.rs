//! What workers leave running in their groups: an example for each rule.

use einhorn::decide::{Action, Event, Left, next_deadline};
use einhorn::state::{
    AckMode, Config, ConnectionId, Disposition, ExitStatus, Monotonic, Pid, Signal, StopSchedule,
};

use crate::example::{Master, config};

/// Workers that serve.
fn up(target: u32, stop: Option<&str>) -> Master {
    let stop = stop.map(|text| StopSchedule::parse(text).unwrap());
    let mut master = Master::started(Config { ack_mode: AckMode::Manual, stop, ..config(target) });
    master.ack(&(0..target).map(|slot| 1000 + i32::try_from(slot).unwrap()).collect::<Vec<_>>());
    master
}

fn two() -> Option<Left> {
    Some(Left { count: 2, program: Some("sleep".to_owned()), is_suspended: false })
}

/// A worker ends, and two processes run on. Answers the signals that these get.
fn leaves(master: &mut Master, pid: i32) -> Vec<Action> {
    let (pid, status) = (Pid(pid), ExitStatus::Code(1));
    let told = master.tell(Event::Exited { pid, status, last_words: Vec::new(), left: two() });
    signals(told)
}

fn signals(mut actions: Vec<Action>) -> Vec<Action> {
    actions.retain(|action| matches!(action, Action::Signal { .. } | Action::Exit { .. }));
    actions
}

fn seen(master: &mut Master, group: i32, left: Option<Left>) -> Vec<Action> {
    signals(master.tell(Event::GroupSeen { group: Pid(group), left }))
}

fn sent(pid: i32, signal: Signal) -> [Action; 1] {
    [Action::Signal { pid: Pid(pid), signal }]
}

#[test]
fn after_a_crash_they_get_the_whole_schedule() {
    let mut master = up(1, Some("TERM/2/INT/2/KILL"));
    assert_eq!(leaves(&mut master, 1000), sent(1000, Signal::Term));
    assert_eq!(signals(master.turn_at(1999)), []);
    assert_eq!(signals(master.turn_at(2000)), sent(1000, Signal::Int));
    assert_eq!(signals(master.turn_at(4000)), sent(1000, Signal::Kill));
    assert_eq!(seen(&mut master, 1000, None), []);
    assert!(master.state.leftovers.is_empty());
}

#[test]
fn they_go_on_where_their_worker_was() {
    let mut master = up(1, Some("TERM/2/INT/2/KILL"));
    master.signal(Signal::Usr2);
    assert_eq!(signals(master.turn_at(2000)), sent(1000, Signal::Int));
    master.now_ms = 3000;
    assert_eq!(leaves(&mut master, 1000), sent(1000, Signal::Int));
    assert_eq!(signals(master.turn_at(3999)), []);
    assert_eq!(signals(master.turn_at(4000)), sent(1000, Signal::Kill));
}

#[test]
fn without_a_schedule_they_are_only_named() {
    let mut master = up(1, None);
    master.signal(Signal::Usr2);
    assert_eq!(leaves(&mut master, 1000), []);
    assert_eq!(signals(master.turn_at(0)), [Action::Exit { code: 0 }]);
    assert_eq!(master.state.leftovers[&Pid(1000)].count, 2);
    assert_eq!(master.state.leftovers[&Pid(1000)].worker.stop_requested_at, None);
}

#[test]
fn a_schedule_that_is_given_later_is_for_them_too() {
    let mut master = up(1, None);
    leaves(&mut master, 1000);
    let told = signals(master.ask("{command: config, args: ['{stop: TERM/2/KILL}']}"));
    assert_eq!(told, sent(1000, Signal::Term));
    assert_eq!(signals(master.ask("{command: config, args: ['{stop: null}']}")), []);
    assert_eq!(signals(master.turn_at(60_000)), []);
}

#[test]
fn the_master_waits_for_them_until_the_schedule_is_over() {
    let mut master = up(1, Some("TERM/2/INT"));
    master.signal(Signal::Term);
    leaves(&mut master, 1000);
    assert_eq!(signals(master.turn_at(0)), []);
    assert_eq!(signals(master.turn_at(2000)), sent(1000, Signal::Int));
    assert_eq!(signals(master.turn_at(11_999)), []);
    assert_eq!(signals(master.turn_at(12_000)), [Action::Exit { code: 1 }]);

    let mut master = up(2, Some("TERM/2/KILL"));
    master.signal(Signal::Term);
    leaves(&mut master, 1000);
    leaves(&mut master, 1001);
    master.turn_at(0);
    assert_eq!(seen(&mut master, 1000, None), []);
    assert_eq!(seen(&mut master, 1001, None), []);
    assert_eq!(next_deadline(&master.state), Some(Monotonic(0)));
    assert_eq!(signals(master.turn_at(0)), [Action::Exit { code: 0 }]);
}

#[test]
fn they_are_looked_for_once_a_second_and_when_a_child_ends() {
    let mut master = up(1, Some("TERM/900/KILL"));
    leaves(&mut master, 1000);
    let looks = |actions: Vec<Action>| actions.contains(&Action::LookAtGroups);
    assert!(!looks(master.turn_at(999)));
    assert_eq!(next_deadline(&master.state), Some(Monotonic(1_000_000_000)));
    assert!(looks(master.turn_at(1000)));
    assert!(!looks(master.turn_at(1001)));
    master.tell(crate::example::exited(4000, ExitStatus::Code(0)));
    assert!(!looks(master.turn_at(1100)));
    assert!(looks(master.turn_at(1101)));
    seen(&mut master, 1000, Some(Left { count: 1, program: None, is_suspended: false }));
    assert_eq!(master.state.leftovers[&Pid(1000)].count, 1);
}

#[test]
fn die_next_moves_them_too() {
    let mut master = up(1, Some("TERM/900/KILL"));
    leaves(&mut master, 1000);
    let told = signals(master.ask("{command: die, args: [--next]}"));
    assert_eq!(told, sent(1000, Signal::Kill));
}

#[test]
fn suspended_ones_are_let_run_unless_the_step_suspends() {
    let suspended = || Some(Left { count: 1, program: None, is_suspended: true });
    for (stop, due) in [("TERM/9/KILL", vec![Signal::Term, Signal::Cont]), ("TSTP/9/TERM", vec![])]
    {
        let mut master = up(1, Some(stop));
        let (pid, status) = (Pid(1000), ExitStatus::Code(1));
        let exited = Event::Exited { pid, status, last_words: Vec::new(), left: suspended() };
        let told = signals(master.tell(exited));
        let all = due.iter().map(|signal| Action::Signal { pid, signal: *signal });
        let first = [Action::Signal { pid, signal: Signal::Tstp }];
        assert_eq!(told, if due.is_empty() { first.to_vec() } else { all.collect() }, "{stop}");
        let again = seen(&mut master, 1000, suspended());
        assert_eq!(again.len(), usize::from(!due.is_empty()), "{again:?}");
    }
}

#[test]
fn a_worker_whose_leftovers_are_killed_was_killed_once() {
    for (status, ended_by) in [
        (ExitStatus::Code(0), "drained itself"),
        (
            ExitStatus::Killed { number: 15, signal: Some(Signal::Term), core_dumped: false },
            "killed",
        ),
    ] {
        let mut master = up(1, Some("TERM/2/KILL"));
        master.inspection.disposition = Some(Disposition::Default);
        master.tell(Event::Opened { connection: ConnectionId(1) });
        master.ask("{command: die, args: [--wait]}");
        let pid = Pid(1000);
        master.tell(Event::Exited { pid, status, last_words: Vec::new(), left: two() });
        assert_eq!(signals(master.turn_at(2000)), sent(1000, Signal::Kill));
        seen(&mut master, 1000, None);
        let counts = master.state.waiters.iter().map(|waiter| waiter.killed_count);
        assert_eq!(counts.collect::<Vec<_>>(), [1], "{ended_by}");
    }
}

#[test]
fn kills_of_leftovers_are_no_alarm_if_kill_comes_first_or_nobody_was_up() {
    let never_up = || {
        let stop = Some(StopSchedule::parse("TERM/2/KILL").unwrap());
        Master::started(Config { ack_mode: AckMode::Manual, stop, ..config(1) })
    };
    for (mut master, is_alarm) in
        [(up(1, Some("KILL")), false), (never_up(), false), (up(1, Some("TERM/2/KILL")), true)]
    {
        leaves(&mut master, 1000);
        master.turn_at(2000);
        assert!(master.state.leftovers[&Pid(1000)].worker.signaled.contains(&Signal::Kill));
        let told = master.tell(Event::GroupSeen { group: Pid(1000), left: None });
        assert_eq!(format!("{told:?}").contains("was killed"), is_alarm, "{told:?}");
    }
}
