//! Workers that a signal has suspended (state T).

use einhorn::status::{Health, Status, WorkerState};
use nix::sys::signal::Signal;

use crate::support::rig::{Master, Rig, send};

crate::tests![
    one_that_is_suspended_before_its_ack_is_not_up,
    one_that_serves_is_missed_and_not_replaced_across_a_reload,
    one_that_is_to_stop_stops,
];

fn status(master: &Master<'_>) -> Status {
    serde_json::from_str(&master.say("status", &["--json"])).unwrap()
}

/// The state of the worker in a slot.
fn state(master: &Master<'_>, slot: usize) -> WorkerState {
    status(master).workers[slot].state
}

fn one_that_is_suspended_before_its_ack_is_not_up() {
    let rig = Rig::new();
    let script = "[ $EINHORN_CHILD_INDEX = 1 ] && kill -STOP $$; exec sleep 1000";
    let master = rig.launch(rig.einhorn(&["-n", "2", "-m", "0.5", "sh", "-c", script]));
    master.until_logged("(slot 1) is suspended by SIGSTOP");
    // Both were started at the same moment, and have the same timer.
    let is_up = |slot| (state(&master, slot) == WorkerState::Up).then_some(());
    master.until("the other is up", || is_up(0));
    let told = status(&master);
    assert_eq!(told.workers[1].state, WorkerState::Suspended);
    assert_eq!((told.health, told.master.acked), (Health::Degraded, 1));
    send(told.workers[1].pid, Signal::SIGCONT);
    master.until("it is up", || is_up(1));
    assert!(rig.log().contains("(slot 1) runs again after"), "{}", rig.log());
}

fn one_that_serves_is_missed_and_not_replaced_across_a_reload() {
    let rig = Rig::new();
    let master = rig.launch(rig.einhorn(&["-n", "2", "-m", "0", "sleep", "1000"]));
    let before = master.settled(2);
    send(before[0], Signal::SIGSTOP);
    let is = |wanted| move |master: &Master<'_>| (state(master, 0) == wanted).then_some(());
    master.until("it is noticed", || is(WorkerState::Suspended)(&master));
    assert!(master.say("reload", &[]).starts_with("Reload done"), "{}", rig.log());
    let told = status(&master);
    assert_eq!(told.workers[0].state, WorkerState::Suspended);
    let pids: Vec<i32> = told.workers.iter().map(|worker| worker.pid).collect();
    assert_eq!(pids, before);
    send(before[0], Signal::SIGCONT);
    master.until("it is noticed", || is(WorkerState::Up)(&master));
    assert_eq!(status(&master).health, Health::Ok);
}

fn one_that_is_to_stop_stops() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let rig = Rig::new();
        let mut master = rig.launch(rig.einhorn(&["-n", "2", "-m", "0", "sleep", "1000"]));
        let pids = master.settled(2);
        send(pids[1], Signal::SIGSTOP);
        master.until_logged("is suspended by SIGSTOP");
        master.signal(signal);
        assert!(master.ended().success(), "{}", rig.log());
        rig.until_empty();
    }
}
