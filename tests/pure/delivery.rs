//! Signals that cannot be sent: an example for each rule.

use einhorn::decide::{Action, Event, Level, next_deadline};
use einhorn::state::{AckMode, Config, Monotonic, Pid, Signal, StopSchedule};

use crate::example::{Master, config};

/// A worker that serves, and that may not be signalled.
fn refusing(stop: Option<&str>) -> Master {
    let stop = stop.map(|text| StopSchedule::parse(text).unwrap());
    let mut master = Master::started(Config { ack_mode: AckMode::Manual, stop, ..config(1) });
    master.ack(&[1000]);
    master.refused = Some(Pid(1000));
    master
}

fn sent(signal: Signal) -> Action {
    Action::Signal { pid: Pid(1000), signal }
}

fn errors(actions: &[Action]) -> usize {
    let is_error = |it: &&Action| matches!(it, Action::Log { level: Level::Error, .. });
    actions.iter().filter(is_error).count()
}

#[test]
fn it_is_tried_again_every_second_and_does_not_count() {
    let mut master = refusing(None);
    let told = master.tell(Event::Signaled { signal: Signal::Usr2, sender: None });
    assert_eq!(errors(&told), 1, "{told:?}");
    assert!(master.state.workers[&Pid(1000)].signaled.is_empty());
    assert_eq!(master.turn_at(999), []);
    assert_eq!(next_deadline(&master.state), Some(Monotonic(1_000_000_000)));
    master.now_ms = 1000;
    let told = master.tell(Event::Turn);
    assert!(told.contains(&sent(Signal::Usr2)) && errors(&told) == 0, "{told:?}");
    master.refused = None;
    assert_eq!(master.turn_at(2000), [sent(Signal::Usr2)]);
    assert!(master.state.workers[&Pid(1000)].signaled.contains(&Signal::Usr2));
    assert_eq!((master.turn_at(3000), next_deadline(&master.state)), (Vec::new(), None));
}

#[test]
fn the_schedule_goes_on_and_then_the_master_gives_up() {
    let mut master = refusing(Some("TERM/5/KILL"));
    master.signal(Signal::Term);
    assert_eq!(master.turn_at(4999), [sent(Signal::Term)]);
    assert_eq!(master.turn_at(5000), [sent(Signal::Kill)]);
    assert_eq!(master.turn_at(14_999), [sent(Signal::Kill)]);
    let told = master.turn_at(15_000);
    assert!(told.contains(&Action::Exit { code: 1 }), "{told:?}");
}

#[test]
fn a_master_that_stays_goes_on_trying() {
    let mut master = refusing(Some("TERM/5/KILL"));
    master.ask("{command: set_workers, args: ['2']}");
    let orders = master.turn_at(0);
    master.start(&orders);
    master.ack(&[1001]);
    master.refused = Some(Pid(1001));
    master.ask("{command: dec}");
    master.turn_at(0);
    let told = master.turn_at(3_600_000);
    assert!(told.iter().any(|told| matches!(told, Action::Signal { .. })), "{told:?}");
    assert_eq!(master.state.workers.len(), 2);
}

#[test]
fn a_repeated_request_does_not_put_off_giving_up() {
    let mut master = refusing(None);
    for second in 0..10 {
        master.turn_at(second * 1000);
        let told = master.tell(Event::Signaled { signal: Signal::Usr2, sender: None });
        assert_eq!(errors(&told), usize::from(second == 0), "told once");
    }
    let told = master.turn_at(10_000);
    assert!(told.contains(&Action::Exit { code: 1 }), "{told:?}");
}

#[test]
fn another_schedule_forgets_what_could_not_be_sent_of_the_one_before() {
    let mut master = refusing(Some("TERM/5/INT/900/KILL"));
    master.refused = None;
    master.signal(Signal::Term);
    master.refused = Some(Pid(1000));
    assert_eq!(master.turn_at(5000), [sent(Signal::Int)]);
    master.ask("{command: config, args: ['{stop: TERM/900/KILL}']}");
    assert_eq!(master.turn_at(60_000), []);
}
