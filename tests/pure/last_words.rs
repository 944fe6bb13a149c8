//! What failed workers said last, in the words of the roll-out that they failed in.

use std::time::Duration;

use einhorn::decide::{Action, Event};
use einhorn::outcome::Outcome;
use einhorn::protocol::ReplyEvent;
use einhorn::state::{
    AckMode, Config, ConnectionId, ExitStatus, Failure, LAST_WORDS_MAX, Pid, RolloutBounds,
    TAIL_MAX,
};

use crate::example::{Master, config, requested};

/// One old worker that is up, and a roll-out that this many failures end; its first worker runs as
/// pid 1001.
fn rolling(failures_max: u32) -> Master {
    let rollout = RolloutBounds {
        ack_timeout: Some(Duration::from_secs(5)),
        failures_max: Some(failures_max),
        ..RolloutBounds::default()
    };
    let (ack_mode, capture_stderr) = (AckMode::Manual, true);
    let mut master = Master::started(Config { ack_mode, rollout, capture_stderr, ..config(1) });
    master.ack(&[1000]);
    master.tell(Event::Opened { connection: ConnectionId(1) });
    master.tell(requested(1, "{command: upgrade, id: 1, events: true}"));
    master.reexec();
    next_worker(&mut master, 1001, 10_000);
    master
}

/// The worker that is ordered by a time runs under a pid.
fn next_worker(master: &mut Master, pid: i32, now_ms: u64) {
    master.now_ms = now_ms;
    master.tell(Event::Turn);
    let slot = *master.state.ordered.keys().next().unwrap();
    master.tell(Event::Spawned { slot, pid: Pid(pid), connection: None, directory: None });
}

/// A worker ends, having said something; answers how the upgrade ended, if it has.
fn ends(master: &mut Master, pid: i32, said: &[u8]) -> Option<einhorn::protocol::End> {
    let (pid, last_words) = (Pid(pid), said.to_vec());
    let exited = Event::Exited { pid, status: ExitStatus::Code(3), last_words, left: None };
    let mut actions = master.tell(exited);
    actions.extend(master.tell(Event::Turn));
    end(actions)
}

/// The last line of the client that waits.
fn end(actions: Vec<Action>) -> Option<einhorn::protocol::End> {
    actions.into_iter().find_map(|action| match action {
        Action::Reply { reply, .. } => match ReplyEvent::parse(&reply.event?).unwrap() {
            ReplyEvent::End(end) => Some(end),
            ReplyEvent::Progress(_) => None,
        },
        _ => None,
    })
}

fn words(failures: &[Failure]) -> Vec<Option<&str>> {
    failures.iter().map(|failure| failure.last_words.as_deref()).collect()
}

#[test]
fn how_an_upgrade_ended_tells_what_its_workers_said_last() {
    let mut master = rolling(2);
    let said: String = (1..=12).map(|line| format!("line {line}\n")).collect();
    assert_eq!(ends(&mut master, 1001, said.as_bytes()), None);
    next_worker(&mut master, 1002, 60_000);
    let end = ends(&mut master, 1002, b"").unwrap();
    assert_eq!(end.outcome, Outcome::Failed);
    let told: Vec<_> = end.failures.iter().map(|failure| failure.last_words.as_deref()).collect();
    let ten: Vec<String> = (3..=12).map(|line| format!("line {line}")).collect();
    assert_eq!(told, [Some(ten.join("\n").as_str()), None]);
    assert_eq!(words(&master.state.last_upgrade.unwrap().failures), told);
}

#[test]
fn a_worker_whose_ack_took_too_long_is_told_of_once_it_has_ended() {
    // While the roll-out goes on, and after it has ended for it.
    for failures_max in [2, 1] {
        let mut master = rolling(failures_max);
        master.now_ms = 15_000;
        let end = end(master.tell(Event::Turn));
        assert_eq!(end.is_some(), failures_max == 1);
        let failures = |master: &Master| match &master.state.rollout {
            Some(rollout) => rollout.failures.clone(),
            None => master.state.last_upgrade.clone().unwrap().failures,
        };
        assert_eq!(words(&failures(&master)), [None]);
        // Another one that ends says nothing of it.
        ends(&mut master, 1000, b"I was told to go");
        assert_eq!(words(&failures(&master)), [None]);
        ends(&mut master, 1001, b"waiting for the database\n");
        assert_eq!(words(&failures(&master)), [Some("waiting for the database")]);
    }
}

#[test]
fn the_last_words_of_a_failure_are_bounded() {
    let mut master = rolling(3);
    // `tell` checks the state after each event.
    ends(&mut master, 1001, &b"\x1b".repeat(TAIL_MAX));
    let failures = &master.state.rollout.as_ref().unwrap().failures;
    assert!(words(failures)[0].unwrap().len() <= LAST_WORDS_MAX);
}
