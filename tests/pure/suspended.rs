//! Workers that a signal has suspended, an example for each rule.

use einhorn::decide::{Action, Event, next_deadline};
use einhorn::state::{AckMode, Config, Monotonic, Pid, Signal, StopSchedule};
use einhorn::status::{Health, Measurements, WorkerState, report};

use crate::example::{Master, config};

/// A signal suspends a worker.
fn suspend(master: &mut Master, pid: i32, signal: Signal) -> Vec<Action> {
    master.tell(Event::Suspended { pid: Pid(pid), signal })
}

/// The signals among these actions.
fn signals(actions: &[Action]) -> Vec<(i32, Signal)> {
    let signal = |action: &Action| match action {
        Action::Signal { pid, signal } => Some((pid.0, *signal)),
        _ => None,
    };
    actions.iter().filter_map(signal).collect()
}

/// All workers up.
fn up(target: u32, stop: Option<&str>) -> Master {
    let stop = stop.map(|text| StopSchedule::parse(text).unwrap());
    let mut master = Master::started(Config { ack_mode: AckMode::Manual, stop, ..config(target) });
    master.ack(&(0..target).map(|slot| 1000 + i32::try_from(slot).unwrap()).collect::<Vec<_>>());
    master
}

#[test]
fn the_timer_of_an_ack_stands_still_meanwhile() {
    let mut master = Master::started(config(1));
    master.now_ms = 400;
    suspend(&mut master, 1000, Signal::Ttin);
    assert_eq!(master.turn_at(5000), []);
    assert_eq!(master.state.acked_count(), 0);
    assert_eq!(next_deadline(&master.state), None);
    master.tell(Event::Continued { pid: Pid(1000) });
    assert_eq!(next_deadline(&master.state), Some(Monotonic(5_600_000_000)));
    master.turn_at(5599);
    assert_eq!(master.state.acked_count(), 0);
    master.turn_at(5600);
    assert_eq!(master.state.acked_count(), 1);
}

#[test]
fn it_is_no_capacity_and_is_not_replaced() {
    let mut master = up(2, None);
    suspend(&mut master, 1001, Signal::Stop);
    assert_eq!(master.turn_at(60_000), []);
    let now = einhorn::state::Now::default();
    let told = report(&master.state, now, &Measurements::default());
    assert_eq!((told.health, told.master.acked), (Health::Degraded, 1));
    assert_eq!(told.workers[1].state, WorkerState::Suspended);
    let why = "worker 1001 (slot 1) is suspended by SIGSTOP; SIGCONT lets it run";
    assert_eq!(told.reasons, ["1 of 2 workers are up", why]);
    master.tell(Event::Continued { pid: Pid(1001) });
    assert_eq!(report(&master.state, now, &Measurements::default()).health, Health::Ok);
}

#[test]
fn one_that_is_to_stop_is_let_run() {
    let mut master = up(2, None);
    suspend(&mut master, 1000, Signal::Stop);
    let told = master.signal(Signal::Term);
    assert_eq!(signals(&told), [(1000, Signal::Term), (1001, Signal::Term)]);
    assert_eq!(master.turn_at(10), [Action::Signal { pid: Pid(1000), signal: Signal::Cont }]);
    assert_eq!(master.turn_at(10), [], "once");
    // A background job that reads from a terminal is suspended as soon as it runs.
    master.tell(Event::Continued { pid: Pid(1000) });
    suspend(&mut master, 1000, Signal::Ttin);
    assert_eq!(master.turn_at(1009), []);
    assert_eq!(next_deadline(&master.state), Some(Monotonic(1_010_000_000)));
    assert_eq!(master.turn_at(1010), [Action::Signal { pid: Pid(1000), signal: Signal::Cont }]);
}

#[test]
fn one_that_is_suspended_while_it_stops_is_let_run() {
    let mut master = up(1, Some("TERM/30/KILL"));
    master.signal(Signal::Int);
    assert_eq!(master.turn_at(10), []);
    suspend(&mut master, 1000, Signal::Tstp);
    assert_eq!(master.turn_at(20), [Action::Signal { pid: Pid(1000), signal: Signal::Cont }]);
}

#[test]
fn a_step_that_suspends_is_not_undone() {
    let mut master = up(1, Some("TSTP/25/TERM/20/KILL"));
    master.signal(Signal::Int);
    suspend(&mut master, 1000, Signal::Tstp);
    assert_eq!(master.turn_at(24_999), []);
    let due = [Signal::Term, Signal::Cont].map(|signal| Action::Signal { pid: Pid(1000), signal });
    assert_eq!(master.turn_at(25_000), due);
}

#[test]
fn a_new_worker_that_is_suspended_takes_no_place_and_fails_in_time() {
    let mut master = Master::started(config(1));
    master.turn_at(1000);
    master.upgrade();
    let orders = master.turn_at(1000);
    master.start(&orders);
    suspend(&mut master, 1001, Signal::Ttou);
    assert_eq!(master.turn_at(100_000), [], "the old one serves on");
    assert_eq!(next_deadline(&master.state), Some(Monotonic(121_000_000_000)));
    master.turn_at(121_000);
    let rollout = master.state.rollout.as_ref().unwrap();
    assert_eq!(rollout.failures[0].what, "no ACK within 120s, suspended by SIGTTOU");
}
