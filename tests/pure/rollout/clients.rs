//! Who waits for an upgrade that ends, and what programs are told.

use einhorn::decide::{Action, Event};
use einhorn::outcome::Outcome;
use einhorn::protocol::{End, ProgressStage, Reply, ReplyEvent};
use einhorn::state::{ConnectionId, ExitStatus, Pid, Signal, Slot};

use super::{half_way, set, turn_and_start};
use crate::example::{Master, exited, requested};
use crate::upgrade::{manual, turn};

/// A client connects and asks. Answers what it is told at once.
fn client(master: &mut Master, connection: u64, line: &str) -> Vec<Reply> {
    master.tell(Event::Opened { connection: ConnectionId(connection) });
    let actions = master.tell(requested(connection, line));
    told(&actions, connection)
}

/// What a client is told.
fn told(actions: &[Action], to: u64) -> Vec<Reply> {
    let replies = actions.iter().filter_map(|action| match action {
        Action::Reply { connection, reply } => (connection.0 == to).then(|| reply.clone()),
        _ => None,
    });
    replies.collect()
}

/// The one end among what a client is told.
fn end(replies: &[Reply]) -> End {
    let news = |reply: &Reply| ReplyEvent::parse(reply.event.as_ref().unwrap()).unwrap();
    let (last, before) = replies.split_last().unwrap();
    let goes_on = |reply: &Reply| reply.wait && matches!(news(reply), ReplyEvent::Progress(_));
    assert!(before.iter().all(goes_on) && !last.wait, "{replies:?}");
    match news(last) {
        ReplyEvent::End(end) => end,
        ReplyEvent::Progress(progress) => panic!("{progress:?}"),
    }
}

fn stage(reply: &Reply) -> ProgressStage {
    match ReplyEvent::parse(reply.event.as_ref().unwrap()).unwrap() {
        ReplyEvent::Progress(progress) => progress.stage,
        ReplyEvent::End(end) => panic!("{end:?}"),
    }
}

const UPGRADE: &str = "{command: upgrade, id: 1, events: true}";

#[test]
fn the_end_of_a_failure_says_who_failed() {
    let mut master = manual(2, 2);
    set(&mut master, "upgrade_max_failures: 1");
    let first = client(&mut master, 7, UPGRADE);
    assert_eq!(first.iter().map(stage).collect::<Vec<_>>(), [ProgressStage::Preflight]);
    master.reexec();
    turn(&mut master);
    let started =
        Event::Spawned { slot: Slot(2), pid: Pid(1002), connection: None, directory: None };
    let launched = master.tell(started);
    assert_eq!(stage(&told(&launched, 7)[0]), ProgressStage::Canary);
    master.now_ms += 250;
    let status = ExitStatus::Killed { number: 11, signal: Some(Signal::Segv), core_dumped: true };
    master.tell(exited(1002, status));
    let last = master.tell(Event::Turn);
    let end = end(&told(&last, 7));
    assert_eq!((end.outcome, end.exit_status), (Outcome::Failed, 4));
    let numbers = (end.numbers.generation, end.numbers.failed, end.numbers.old_left);
    assert_eq!(numbers, (1, 1, 2), "of the generation that failed");
    let failure = &end.failures[0];
    assert_eq!((failure.pid, failure.slot, failure.age_ms), (Some(1002), 2, 250));
    assert_eq!(failure.what, "killed by SIGSEGV (core dumped)");
    assert!(!end.message.contains(" done"), "{}", end.message);
    assert_eq!(told(&master.tell(Event::Turn), 7), [], "and nothing after it");
}

#[test]
fn a_superseded_upgrade_ends_for_programs_and_goes_on_for_people() {
    let mut master = manual(2, 2);
    client(&mut master, 7, UPGRADE);
    client(&mut master, 8, "{command: upgrade, id: 1}");
    master.reexec();
    turn_and_start_told(&mut master);
    master.tell(exited(1002, ExitStatus::Code(3)));
    client(&mut master, 9, UPGRADE);
    master.tell(Event::PreflightStarted { pid: Pid(2000), deployment: None });
    let fit = crate::example::ended(ExitStatus::Code(0), Some(crate::example::fit()), "");
    master.tell(fit);
    let begins = master.tell(crate::example::adopted());
    let end = end(&told(&begins, 7));
    assert_eq!((end.outcome, end.exit_status, end.failures.len()), (Outcome::Superseded, 6, 1));
    assert!(told(&begins, 8).iter().all(|reply| reply.wait));
    let aborted = client(&mut master, 10, "{command: abort}");
    assert_eq!(aborted[0].message, "Aborted the roll-out");
}

#[test]
fn whoever_attaches_is_told_the_end_and_whoever_is_late_how_it_was() {
    let mut master = half_way();
    let first = client(&mut master, 7, "{command: wait, id: 1, events: true}");
    assert_eq!((first.len(), stage(&first[0])), (1, ProgressStage::Rollout));
    let aborts = client_and_all(&mut master, 8, "{command: abort}");
    assert_eq!(end(&told(&aborts, 7)).exit_status, 6);
    let late = client(&mut master, 9, "{command: wait, id: 1, events: true}");
    let end = end(&late);
    assert_eq!((end.outcome, end.numbers.generation), (Outcome::Aborted, 1));
    assert!(end.message.starts_with("How the last upgrade ended: "), "{}", end.message);
}

#[test]
fn whoever_waits_for_what_was_put_off_is_told_of_its_abort() {
    let mut master = manual(1, 1);
    master.upgrade();
    turn_and_start(&mut master);
    master.ack(&[1001]);
    turn(&mut master);
    assert_eq!(master.signal(Signal::Hup), [], "put off");
    client(&mut master, 7, "{command: wait, id: 1, events: true}");
    let aborts = client_and_all(&mut master, 8, "{command: abort}");
    assert_eq!(end(&told(&aborts, 7)).outcome, Outcome::Aborted);
    assert!(master.state.waiters.is_empty());
}

#[test]
fn whoever_attaches_during_a_reload_waits_for_the_roll_out() {
    let mut master = half_way();
    client(&mut master, 7, "{command: reload}");
    let first = client(&mut master, 8, "{command: wait, id: 1, events: true}");
    assert!(first.len() == 1 && first[0].wait);
    master.reexec();
    let aborts = client_and_all(&mut master, 9, "{command: abort}");
    assert_eq!(end(&told(&aborts, 8)).outcome, Outcome::Aborted);
}

#[test]
fn every_answer_says_whether_it_was_done() {
    let answers = [
        ("inc", Outcome::Done),
        ("fly", Outcome::NotUnderstood),
        ("upgrade, args: [now]", Outcome::NotUnderstood),
        ("set_workers, args: ['0', --wait]", Outcome::NotUnderstood),
        ("set_workers, args: ['10001', --wait]", Outcome::Refused),
        ("config, args: ['{verbosity: 3}']", Outcome::NotUnderstood),
        ("abort", Outcome::Refused),
        ("wait", Outcome::Done),
    ];
    for (command, outcome) in answers {
        let mut master = manual(2, 2);
        let told = client(&mut master, 7, &format!("{{command: {command}, events: true}}"));
        assert_eq!((told.len(), end(&told).outcome), (1, outcome), "{command}");
    }
}

#[test]
fn a_number_of_workers_is_waited_for() {
    let mut master = manual(2, 2);
    let line = "{command: set_workers, args: ['3', --wait], id: 1, events: true}";
    let first = client(&mut master, 7, line);
    assert_eq!((first.len(), stage(&first[0])), (1, ProgressStage::Settling));
    turn_and_start_told(&mut master);
    let ack = "{command: worker:ack, pid: 1002}";
    master.tell(requested(8, ack));
    let settled = end(&told(&master.tell(Event::Turn), 7));
    assert_eq!((settled.outcome, &*settled.message), (Outcome::Done, "3 workers are up"));
}

#[test]
fn whoever_waits_for_another_number_waits_in_vain() {
    let others = ["{command: inc}", "{command: config, args: ['{number: 9}']}"];
    for other in others {
        let mut master = manual(2, 2);
        client(&mut master, 7, "{command: inc, args: [--wait], id: 1, events: true}");
        let changed = client_and_all(&mut master, 8, other);
        assert_eq!(end(&told(&changed, 7)).outcome, Outcome::Superseded, "{other}");
    }
    let mut master = manual(2, 2);
    client(&mut master, 7, "{command: inc, args: [--wait], id: 1, events: true}");
    let stopped = master.tell(Event::Signaled { signal: Signal::Term, sender: None });
    let stopped = end(&told(&stopped, 7));
    assert_eq!(stopped.outcome, Outcome::Aborted);
    assert_eq!(stopped.message, "Not settled: the master is going down");
}

#[test]
fn what_cannot_be_waited_for_is_not_done() {
    let mut master = manual(2, 2);
    client(&mut master, 7, "{command: upgrade, id: 1}");
    let wait = requested(7, "{command: wait, id: 1}");
    while told(&master.tell(wait.clone()), 7)[0].wait {}
    for command in ["inc", "die"] {
        let line = format!("{{command: {command}, args: [--wait], id: 1}}");
        let refused = told(&master.tell(requested(7, &line)), 7);
        assert!(refused[0].message.starts_with("Not done: "), "{refused:?}");
    }
    assert_eq!((master.state.config.target, master.state.stopping), (2, None));
}

#[test]
fn the_end_of_the_master_is_waited_for() {
    let mut master = manual(1, 1);
    let first = client(&mut master, 7, "{command: die, args: [--wait], id: 1, events: true}");
    assert_eq!((first.len(), stage(&first[0])), (1, ProgressStage::Stopping));
    let again = client(&mut master, 8, "{command: die, args: [KILL]}");
    assert!(!again[0].wait);
    master.tell(exited(1000, ExitStatus::Code(0)));
    let leaves = master.tell(Event::Turn);
    assert_eq!(end(&told(&leaves, 7)).outcome, Outcome::Done);
    assert!(leaves.contains(&Action::Exit { code: 0 }));
}

/// A client connects and asks. Answers everything that is done about it.
fn client_and_all(master: &mut Master, connection: u64, line: &str) -> Vec<Action> {
    master.tell(Event::Opened { connection: ConnectionId(connection) });
    master.tell(requested(connection, line))
}

/// What a turn orders is started, while somebody is told of it.
fn turn_and_start_told(master: &mut Master) {
    for action in master.tell(Event::Turn) {
        if let Action::Spawn { slot, .. } = action {
            let pid = Pid(1000 + i32::try_from(slot.0).unwrap());
            master.tell(Event::Spawned { slot, pid, connection: None, directory: None });
        }
    }
}
