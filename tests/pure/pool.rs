//! The rules of keeping N workers alive (behaviour.md sections 3 and 4), an example each. That they
//! hold together, whatever happens, is for `simulate`.

use std::ops::Range;
use std::time::Duration;

use einhorn::decide::{Action, Event, Level, SPAWNS_PER_TURN, next_deadline};
use einhorn::state::{
    AckMode, Config, Deployment, ExitStatus, Generation, Monotonic, Pid, Signal, Slot,
};

use crate::example::{Master, config, exited, requested};

/// `-m manual`: nobody is up before a test says so.
fn manual(target: u32) -> Config {
    Config { ack_mode: AckMode::Manual, ..config(target) }
}

/// That these indexes are started.
fn starts(slots: Range<u32>) -> Vec<Action> {
    slots.map(|slot| Action::Spawn { slot: Slot(slot), generation: Generation(0) }).collect()
}

/// That these workers get a signal.
fn signals(signal: Signal, pids: &[i32]) -> Vec<Action> {
    pids.iter().map(|pid| Action::Signal { pid: Pid(*pid), signal }).collect()
}

/// When the master wants to be woken, in milliseconds since it began.
fn deadline_ms(master: &Master) -> Option<f64> {
    next_deadline(&master.state).map(|Monotonic(nanos)| nanos as f64 / 1e6)
}

#[test]
fn the_first_start_is_all_at_once_in_batches() {
    assert_eq!(SPAWNS_PER_TURN, 16);
    let mut master = Master::new(Config { max_unacked: Some(1), ..manual(40) });
    // One first: if that fails, all would.
    for batch in [0..1, 1..17, 17..33, 33..40] {
        let orders = master.turn_at(0);
        assert_eq!(orders, starts(batch.clone()));
        assert_eq!(master.turn_at(0), [], "the batch is still to be started");
        master.start(&orders);
    }
    assert_eq!(master.turn_at(0), []);
    assert_eq!(deadline_ms(&master), None);
}

#[test]
fn a_timer_counts_workers_as_up() {
    let mut master = Master::started(config(1));
    assert_eq!(deadline_ms(&master), Some(1000.0));
    master.turn_at(999);
    assert_eq!(master.state.acked_count(), 0);
    master.turn_at(1000);
    assert_eq!(master.state.acked_count(), 1);
    assert_eq!(deadline_ms(&master), None);
}

#[test]
fn a_worker_that_lived_as_long_was_up_though_no_turn_has_noted_it() {
    let mut master = Master::started(config(1));
    master.now_ms = 1000;
    master.exit(1000);
    assert_eq!((master.state.early_death_count, master.turn_at(1000)), (0, starts(0..1)));
}

#[test]
fn a_worker_that_was_up_is_replaced_at_once_at_the_lowest_index() {
    let mut master = Master::started(config(3));
    master.turn_at(1000);
    master.exit(1002);
    master.exit(1001);
    assert_eq!(master.turn_at(5000), starts(1..3));
}

#[test]
fn replacements_wait_while_too_many_wait_for_their_ack() {
    let mut master = Master::started(Config { max_unacked: Some(2), ..manual(5) });
    master.ack(&[1000, 1001, 1002, 1003, 1004]);
    for pid in 1000..1005 {
        master.exit(pid);
    }
    let orders = master.turn_at(5000);
    assert_eq!(orders, starts(0..2));
    master.start(&orders);
    assert_eq!(master.turn_at(60_000), []);
    master.ack(&[1001]);
    assert_eq!(master.turn_at(60_000), starts(2..3));
}

#[test]
fn deaths_before_the_ack_back_off_to_half_a_minute() {
    let mut master = Master::started(manual(1));
    let waits_ms = [
        1500.0,
        2250.0,
        3375.0,
        5062.5,
        7593.75,
        11_390.625,
        17_085.937_5,
        25_628.906_25,
        30_000.0,
        30_000.0,
    ];
    for wait_ms in waits_ms {
        // It lives a second; the wait counts from its start.
        let started_ms = master.now_ms;
        master.now_ms += 1000;
        master.exit(1000);
        assert_eq!(master.turn_at(master.now_ms), []);
        let due_ms = deadline_ms(&master).unwrap();
        assert!((due_ms - started_ms as f64 - wait_ms).abs() < 1e-5, "{due_ms}, {wait_ms}");
        assert_eq!(master.turn_at(due_ms.ceil() as u64 - 1), []);
        let orders = master.turn_at(due_ms.ceil() as u64);
        assert_eq!(orders, starts(0..1));
        master.start(&orders);
    }
}

#[test]
fn the_back_off_starts_one_at_a_time() {
    let mut master = Master::started(manual(3));
    for pid in 1000..1003 {
        master.exit(pid);
    }
    // Three deaths in a row: 1.5³ seconds.
    let orders = master.turn_at(3375);
    assert_eq!(orders, starts(0..1));
    master.start(&orders);
    assert_eq!(deadline_ms(&master), Some(2.0 * 3375.0));
    assert_eq!(master.turn_at(2 * 3375), starts(1..2));
}

#[test]
fn the_first_ack_ends_the_streak() {
    let mut master = Master::started(manual(3));
    for pid in 1000..1002 {
        master.exit(pid);
    }
    assert_eq!(master.turn_at(1), []);
    master.ack(&[1002]);
    assert_eq!(master.turn_at(1), starts(0..2));
}

#[test]
fn a_failed_start_counts_as_a_death_and_ends_the_first_start() {
    let mut master = Master::new(Config { max_unacked: Some(40), ..manual(40) });
    let first = master.turn_at(0);
    master.start(&first);
    assert_eq!(master.turn_at(0), starts(1..17));
    master.start(&starts(1..16));
    master.fail(16);
    assert_eq!(master.turn_at(1499), []);
    assert_eq!(master.turn_at(1500), starts(16..17));
}

#[test]
fn a_smaller_target_takes_from_the_first_start() {
    let mut master = Master::new(manual(40));
    for _ in 0..2 {
        let orders = master.turn_at(0);
        master.start(&orders);
    }
    master.ask("{command: set_workers, args: ['20']}");
    let orders = master.turn_at(0);
    assert_eq!(orders, starts(17..20));
    master.start(&orders);
    master.exit(1003);
    assert_eq!(master.turn_at(1499), [], "its replacement backs off, as any");
}

#[test]
fn the_surplus_goes_unacked_first_then_from_the_top() {
    let mut master = Master::started(manual(5));
    master.ack(&[1000, 1002, 1003]);
    master.ask("{command: set_workers, args: ['4']}");
    assert_eq!(master.turn_at(1), signals(Signal::Usr2, &[1004]));
    master.ask("{command: set_workers, args: ['2']}");
    assert_eq!(master.turn_at(2), signals(Signal::Usr2, &[1001, 1003]));
    assert_eq!(master.turn_at(3), [], "each is told once");
}

#[test]
fn those_told_to_go_count_until_they_are_gone() {
    let mut master = Master::started(config(3));
    master.turn_at(1000);
    master.ask("{command: dec}");
    assert_eq!(master.turn_at(1000), signals(Signal::Usr2, &[1002]));
    master.ask("{command: inc}");
    assert_eq!(master.turn_at(5000), []);
    master.exit(1002);
    assert_eq!(master.turn_at(5000), starts(2..3));
}

#[test]
fn who_outlives_its_signal_is_killed_once() {
    let timeout = Some(Duration::from_secs(3));
    let mut master = Master::started(Config { signal_timeout: timeout, ..config(2) });
    master.turn_at(1000);
    master.ask("{command: dec}");
    assert_eq!(master.turn_at(2000), signals(Signal::Usr2, &[1001]));
    assert_eq!(deadline_ms(&master), Some(5000.0));
    assert_eq!(master.turn_at(4999), []);
    assert_eq!(master.turn_at(5000), signals(Signal::Kill, &[1001]));
    assert_eq!(master.turn_at(50_000), []);
    assert_eq!(deadline_ms(&master), None);
}

#[test]
fn a_master_out_of_retries_leaves_when_nobody_is_left() {
    let mut master = Master::started(Config { retries: Some(2), ..manual(1) });
    master.exit(1000);
    let orders = master.turn_at(1500);
    master.start(&orders);
    master.exit(1000);
    assert_eq!(master.turn_at(1500), [Action::Exit { code: 1 }]);
}

#[test]
fn a_master_out_of_retries_keeps_whom_it_has() {
    let mut master = Master::started(Config { retries: Some(1), ..manual(2) });
    master.exit(1001);
    assert_eq!(master.turn_at(60_000), []);
    assert_eq!(deadline_ms(&master), None);
    master.ask("{command: config, args: ['{retries: 5}']}");
    assert_eq!(master.turn_at(60_000), starts(1..2));
}

#[test]
fn a_worker_that_crashes_after_its_ack_is_replaced_at_a_pace() {
    let at_once = AckMode::Timer(Duration::ZERO);
    let mut master = Master::new(Config { ack_mode: at_once, ..config(1) });
    let mut started_ms = Vec::new();
    while started_ms.len() < 7 {
        let orders = master.turn_at(master.now_ms);
        if orders.is_empty() {
            let due_ms = deadline_ms(&master).unwrap();
            master.now_ms = due_ms as u64;
            continue;
        }
        started_ms.push(master.now_ms);
        master.start(&orders);
        master.turn_at(master.now_ms);
        master.exit(1000);
    }
    // The first start, two replacements at once, and then one in half a second.
    assert_eq!(started_ms, [0, 0, 0, 500, 1000, 1500, 2000]);
}

#[test]
fn a_fleet_lost_twice_is_back_at_once() {
    let at_once = AckMode::Timer(Duration::ZERO);
    let mut master = Master::started(Config { ack_mode: at_once, ..config(4) });
    for _ in 0..2 {
        master.turn_at(0);
        for pid in 1000..1004 {
            master.exit(pid);
        }
        let orders = master.turn_at(0);
        assert_eq!(orders, starts(0..4));
        master.start(&orders);
    }
    master.turn_at(0);
    master.exit(1002);
    assert_eq!(master.turn_at(124), []);
    assert_eq!(master.turn_at(125), starts(2..3), "half a second, shared by four");
}

#[test]
fn a_stopping_master_starts_nobody_and_leaves_last() {
    let mut master = Master::started(manual(2));
    let told = signals(Signal::Term, &[1000, 1001]);
    assert_eq!(master.ask("{command: die, args: [TERM]}")[..2], told);
    master.exit(1000);
    assert_eq!(master.turn_at(60_000), []);
    assert_eq!(deadline_ms(&master), None);
    master.exit(1001);
    assert_eq!(master.turn_at(60_000), [Action::Exit { code: 0 }]);
}

#[test]
fn a_big_fleet_is_replaced_at_twenty_a_second() {
    let at_once = AckMode::Timer(Duration::ZERO);
    let mut master =
        Master::started(Config { ack_mode: at_once, max_unacked: Some(20), ..config(20) });
    for _ in 0..2 {
        master.turn_at(0);
        for pid in 1000..1020 {
            master.exit(pid);
        }
        for batch in [0..16, 16..20] {
            let orders = master.turn_at(0);
            assert_eq!(orders, starts(batch));
            master.start(&orders);
        }
    }
    master.turn_at(0);
    master.exit(1002);
    assert_eq!(master.turn_at(49), []);
    assert_eq!(master.turn_at(50), starts(2..3), "and not after half a second, shared by twenty");
}

#[test]
fn each_signal_stops_in_its_way() {
    let all = |signal| signals(signal, &[1000, 1001]);
    for signal in [Signal::Int, Signal::Usr2] {
        assert_eq!(Master::started(manual(2)).signal(signal), all(Signal::Usr2));
    }
    assert_eq!(Master::started(manual(2)).signal(Signal::Term), all(Signal::Term));
    let leaves = [Action::Exit { code: 1 }];
    for kills in [false, true] {
        let config = Config { kill_children_on_exit: kills, ..manual(2) };
        let killed = if kills { all(Signal::Usr2) } else { Vec::new() };
        let mut master = Master::started(config);
        let due = [&all(Signal::Quit)[..], &killed, &leaves].concat();
        assert_eq!(master.signal(Signal::Quit), due);
        // Whatever comes in the same turn.
        master.signal(Signal::Term);
        master.exit(1000);
        master.exit(1001);
        assert_eq!(master.turn_at(0), leaves);
    }
}

#[test]
fn a_failed_start_makes_the_next_one_wait_from_then_on() {
    let mut master = Master::started(manual(1));
    master.exit(1000);
    assert_eq!(master.turn_at(1500), starts(0..1));
    master.now_ms = 2000;
    master.fail(0);
    assert_eq!(deadline_ms(&master), Some(2000.0 + 2250.0));
}

#[test]
fn a_master_that_gives_up_says_so_once() {
    let says_so = |actions: Vec<Action>| {
        let is_error = |action: &Action| matches!(action, Action::Log { level: Level::Error, .. });
        actions.iter().any(is_error)
    };
    let mut master = Master::started(Config { retries: Some(1), ..manual(2) });
    assert!(says_so(master.tell(exited(1001, ExitStatus::Code(1)))));
    let config = |master: &mut Master, settings: &str| {
        let line = format!("{{command: config, args: ['{{{settings}}}']}}");
        master.tell(requested(1, &line))
    };
    assert!(!says_so(config(&mut master, "seconds: 2")), "it has said so");
    assert!(!says_so(config(&mut master, "retries: 2")));
    assert!(says_so(config(&mut master, "retries: 1")));
}

#[test]
fn a_worker_in_another_directory_than_its_generations_is_an_error() {
    let mut master = Master::new(manual(1));
    master.state.config.chdir = Some("/srv/web".into());
    let deployment = Deployment { directory: Some("/srv/web/1".into()), environment: Vec::new() };
    master.state.deployments.insert(Generation(0), deployment);
    for (directory, is_inherited) in [("/srv/web/1", false), ("/srv/web/2", true)] {
        let mut master =
            Master { state: master.state.clone(), inspection: master.inspection.clone(), ..master };
        master.turn_at(0);
        let directory = Some(directory.into());
        let (slot, pid, connection) = (Slot(0), Pid(1000), None);
        let told = master.tell(Event::Spawned { slot, pid, connection, directory });
        let is_error = |action: &Action| matches!(action, Action::Log { level: Level::Error, .. });
        assert_eq!(told.iter().any(is_error), is_inherited);
    }
}
