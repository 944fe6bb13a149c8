//! The schedule of `--stop`, an example for each rule.

use einhorn::decide::{Action, Event, next_deadline};
use einhorn::state::{AckMode, Config, Monotonic, Pid, Signal, StopSchedule};

use crate::example::{Master, config};

/// As many workers as there should be, all up.
fn up(target: u32, stop: Option<&str>) -> Master {
    let stop = stop.map(|text| StopSchedule::parse(text).unwrap());
    let mut master = Master::started(Config { ack_mode: AckMode::Manual, stop, ..config(target) });
    master.ack(&(0..target).map(|slot| 1000 + i32::try_from(slot).unwrap()).collect::<Vec<_>>());
    master
}

/// The signals among these actions.
fn signals(actions: &[Action]) -> Vec<(i32, Signal)> {
    let signal = |action: &Action| match action {
        Action::Signal { pid, signal } => Some((pid.0, *signal)),
        _ => None,
    };
    actions.iter().filter_map(signal).collect()
}

/// The text of the reply among these actions.
fn reply(actions: &[Action]) -> &str {
    for action in actions {
        if let Action::Reply { reply, .. } = action {
            return &reply.message;
        }
    }
    panic!("no reply: {actions:?}");
}

fn ask(master: &mut Master, command: &str, args: &str) -> Vec<Action> {
    master.ask(&format!("{{command: {command}, args: [{args}]}}"))
}

#[test]
fn steps_follow_each_other() {
    let mut master = up(1, Some("QUIT/60/TERM/5/KILL"));
    assert_eq!(signals(&master.signal(Signal::Int)), [(1000, Signal::Quit)]);
    assert_eq!(next_deadline(&master.state), Some(Monotonic(60_000_000_000)));
    assert_eq!(master.turn_at(59_999), []);
    assert_eq!(signals(&master.turn_at(60_000)), [(1000, Signal::Term)]);
    assert_eq!(master.turn_at(64_999), []);
    assert_eq!(signals(&master.turn_at(65_000)), [(1000, Signal::Kill)]);
    assert_eq!(next_deadline(&master.state), None);
}

#[test]
fn with_a_schedule_a_repeated_request_changes_nothing_and_tells_the_time_left() {
    let mut master = up(2, Some("TERM/30/KILL"));
    let told = ask(&mut master, "die", "");
    assert_eq!(signals(&told), [(1000, Signal::Term), (1001, Signal::Term)]);
    master.now_ms = 6_000;
    for signal in [Signal::Int, Signal::Usr2, Signal::Term] {
        assert_eq!(master.signal(signal), []);
    }
    let told = ask(&mut master, "die", "");
    assert_eq!(signals(&told), []);
    let left = "2 workers are stopping already: 1000 (KILL in 24s), 1001 (KILL in 24s)";
    assert_eq!(reply(&told), format!("Einhorn is going down! {left}"));
    assert_eq!(next_deadline(&master.state), Some(Monotonic(30_000_000_000)));
}

#[test]
fn without_one_each_request_is_a_signal_as_it_was() {
    let mut master = up(1, None);
    for (sent, arrives) in
        [(Signal::Usr2, Signal::Int), (Signal::Usr2, Signal::Usr2), (Signal::Term, Signal::Term)]
    {
        assert_eq!(signals(&master.signal(arrives)), [(1000, sent)]);
        assert_eq!(signals(&master.signal(arrives)), [(1000, sent)]);
    }
}

#[test]
fn a_signal_that_is_named_ignores_the_schedule() {
    let mut master = up(1, Some("TERM/30/KILL"));
    assert_eq!(signals(&ask(&mut master, "die", "HUP")), [(1000, Signal::Hup)]);
    assert_eq!(next_deadline(&master.state), None);
    // The schedule is begun by whoever asks for it then.
    assert_eq!(signals(&ask(&mut master, "die", "")), [(1000, Signal::Term)]);
    assert_eq!(next_deadline(&master.state), Some(Monotonic(30_000_000_000)));
    assert_eq!(signals(&ask(&mut master, "die", "INT")), [(1000, Signal::Int)]);
    assert_eq!(next_deadline(&master.state), Some(Monotonic(30_000_000_000)), "it stays on it");
    let told = master.signal(Signal::Quit);
    assert_eq!(signals(&told), [(1000, Signal::Quit)]);
}

#[test]
fn who_will_not_wait_moves_on() {
    let mut master = up(1, Some("TSTP/25/TERM/20/KILL"));
    let told = ask(&mut master, "die", "--next");
    assert_eq!(signals(&told), [(1000, Signal::Tstp)]);
    master.now_ms = 1_000;
    let told = ask(&mut master, "die", "--next");
    assert_eq!(signals(&told), [(1000, Signal::Term)]);
    assert_eq!(reply(&told), "Einhorn is going down! Next step: TERM to 1000");
    assert_eq!(next_deadline(&master.state), Some(Monotonic(21_000_000_000)));
    assert_eq!(signals(&ask(&mut master, "die", "--next")), [(1000, Signal::Kill)]);
    let told = ask(&mut master, "die", "--next");
    assert_eq!(signals(&told), []);
    let none = "TSTP/25/TERM/20/KILL has no next step for 1 worker";
    assert_eq!(reply(&told), format!("Einhorn is going down! {none}"));
}

#[test]
fn surplus_and_old_workers_get_it_too_and_keep_their_steps_when_the_master_stops() {
    let mut master = up(2, Some("QUIT/10/KILL"));
    ask(&mut master, "dec", "");
    assert_eq!(signals(&master.turn_at(0)), [(1001, Signal::Quit)]);
    master.now_ms = 4_000;
    assert_eq!(signals(&master.signal(Signal::Term)), [(1000, Signal::Quit)]);
    assert_eq!(signals(&master.turn_at(10_000)), [(1001, Signal::Kill)]);
    assert_eq!(signals(&master.turn_at(14_000)), [(1000, Signal::Kill)]);
}

#[test]
fn a_change_reaches_workers_that_stop_already() {
    let mut master = up(2, None);
    ask(&mut master, "dec", "");
    assert_eq!(signals(&master.turn_at(0)), [(1001, Signal::Usr2)]);
    // It ignores USR2; what it was not sent yet is sent.
    master.now_ms = 5_000;
    let told = ask(&mut master, "config", "'{stop: TERM/30/KILL}'");
    assert_eq!(signals(&told), [(1001, Signal::Term)]);
    assert_eq!(reply(&told), "Changed stop to TERM/30/KILL");
    assert_eq!(next_deadline(&master.state), Some(Monotonic(35_000_000_000)));
    // A shorter time applies from when the step began.
    master.now_ms = 9_000;
    assert_eq!(signals(&ask(&mut master, "config", "'{stop: TERM/2/KILL}'")), []);
    assert_eq!(signals(&master.turn_at(9_000)), [(1001, Signal::Kill)]);
}

#[test]
fn bad_changes_are_refused_and_change_nothing() {
    let mut master = up(1, Some("TERM/30/KILL"));
    for (change, why) in [
        ("{stop: TERM/30}", "stop must end with a signal"),
        ("{stop: 30}", "stop must be a word, not 30"),
        ("{stop: TERM, signal_timeout: 5}", "signal_timeout must be null"),
        ("{signal_timeout: 5}", "with stop (TERM/30/KILL) the seconds stand in there"),
    ] {
        let told = ask(&mut master, "config", &format!("'{change}'"));
        assert!(reply(&told).contains(why), "{change}: {}", reply(&told));
        assert_eq!(master.state.config.stop_schedule().to_string(), "TERM/30/KILL");
    }
    let told = ask(&mut master, "config", "'{stop: null, signal_timeout: 5}'");
    assert_eq!(reply(&told), "Changed stop to none, signal_timeout to 5");
    assert_eq!(master.state.config.stop_schedule().to_string(), "USR2/5/KILL");
}

#[test]
fn a_worker_that_starts_as_the_master_stops_is_asked_at_once() {
    let mut master = Master::new(Config {
        stop: Some(StopSchedule::parse("TERM/30/KILL").unwrap()),
        ..config(1)
    });
    master.turn_at(0);
    master.signal(Signal::Int);
    let (slot, pid) = (einhorn::state::Slot(0), Pid(1000));
    let told = master.tell(Event::Spawned { slot, pid, connection: None, directory: None });
    assert_eq!(signals(&told), [(1000, Signal::Term)]);
}
