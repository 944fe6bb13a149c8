//! What clients are told of upgrades, from their request to its last line.

use einhorn::decide::{Event, PREFLIGHT_MAX, PreflightOutcome};
use einhorn::state::{CandidateReport, Config, ConnectionId, ExitStatus, Pid};

use super::transcripts::To;
use super::{master, written};
use crate::example::{Master, adopted, config, ended, exited, fit, requested};

/// What is said to clients about an event, connection by connection as they come.
fn said(master: &mut Master, event: Event) -> Vec<String> {
    let actions = master.tell(event);
    let lines = actions.iter().filter_map(written);
    lines.filter(|line| line.starts_with("more") || line.starts_with("reply")).collect()
}

/// Tells several events. Answers all that is said about them.
fn conversation(master: &mut Master, events: Vec<Event>) -> Vec<String> {
    events.into_iter().flat_map(|event| said(master, event)).collect()
}

/// A candidate that runs, and then is found fit.
fn found_fit() -> [Event; 2] {
    let started = Event::PreflightStarted { pid: Pid(2000), deployment: None };
    [started, ended(ExitStatus::Code(0), Some(fit()), "")]
}

/// Three workers, two of them up, and a client.
fn busy() -> Master {
    let mut master = master(To::Manual);
    master.state.config.max_unacked = Some(1);
    master
}

#[test]
fn a_reload_is_done_when_the_next_image_is_there() {
    let mut events = vec![requested(1, "{command: reload, id: 7}")];
    events.extend(found_fit());
    events.extend([adopted(), Event::Turn]);
    assert_eq!(
        conversation(&mut busy(), events),
        [
            "more 7: Reloading, as commanded",
            "more 7: Checking whether the new release can take over (pid 2000)",
            "more 7: einhorn 9.9.9 can take over; handing over to it",
            "more 7: Re-executed: from einhorn 0.0.1 to VERSION",
            "reply 7: Reload done: einhorn VERSION",
        ]
    );
}

#[test]
fn an_upgrade_is_done_when_the_last_new_worker_is_up() {
    let mut master = Master::started(config(1));
    master.turn_at(1000);
    master.tell(Event::Opened { connection: ConnectionId(1) });
    let mut said = said(&mut master, requested(1, "{command: upgrade}"));
    said.extend(conversation(&mut master, found_fit().to_vec()));
    said.extend(conversation(&mut master, vec![adopted(), Event::Turn]));
    let slot = *master.state.ordered.keys().next().unwrap();
    let started = Event::Spawned { slot, pid: Pid(1001), connection: None, directory: None };
    said.extend(conversation(&mut master, vec![started]));
    master.now_ms = 2000;
    said.extend(conversation(&mut master, vec![Event::Turn, Event::Turn]));
    assert_eq!(
        said,
        [
            "more: Upgrading, as commanded",
            "more: Checking whether the new release can take over (pid 2000)",
            "more: einhorn 9.9.9 can take over; handing over to it",
            "more: Re-executed: from einhorn 0.0.1 to VERSION",
            "more: Starting smooth upgrade from generation 0...",
            "more: ===> Launched 1001 (slot 1)",
            "more: Up to 1 / 1 timer ACKs",
            "more: Canary 1001 passed: replacing the others",
            "more: Upgraded successfully to generation 1",
            "more: Sending USR2 to 1 old worker: [1000]",
            "reply: Upgrade done: 1 worker of generation 1 in 1.00s; 1 old worker still draining",
        ]
    );
}

#[test]
fn a_fleet_is_done_when_all_of_it_is_up() {
    let mut master = busy();
    let mut events = vec![requested(1, "{command: upgrade_fleet, id: 1}")];
    events.extend(found_fit());
    events.extend([adopted(), Event::Turn]);
    assert_eq!(
        conversation(&mut master, events).last().map(String::as_str),
        Some("more 1: Starting fleet upgrade from generation 0...")
    );
    let slots: Vec<_> = master.state.ordered.keys().copied().collect();
    for slot in slots {
        let pid = Pid(1000 + i32::try_from(slot.0).unwrap());
        master.tell(Event::Spawned { slot, pid, connection: None, directory: None });
    }
    master.tell(Event::Opened { connection: ConnectionId(9) });
    for pid in 1003..1006 {
        master.tell(requested(9, &format!("{{command: worker:ack, pid: {pid}}}")));
    }
    assert_eq!(
        said(&mut master, Event::Turn),
        [
            "more 1: Upgraded successfully to generation 1",
            "more 1: Sending USR2 to 3 old workers: [1001, 1000, 1002]",
            "reply 1: Upgrade done: 3 workers of generation 1 in 0.00s; \
             3 old workers still draining",
        ]
    );
}

/// A way in which a candidate ends, and what is said of it.
type Refusal = (ExitStatus, Option<CandidateReport>, &'static str, String);

fn refusals() -> Vec<Refusal> {
    let killed = ExitStatus::Killed { number: 4, signal: None, core_dumped: false };
    let of_another_format = Some(CandidateReport { format: 1000, ..fit() });
    let not_adopted = Some(CandidateReport { has_adopted: false, ..fit() });
    let of_another = Some(CandidateReport { pid: 2001, ..fit() });
    let refusal = |status, report, words, why: &str| (status, report, words, why.to_owned());
    vec![
        refusal(
            ExitStatus::Code(3),
            None,
            "boom\n",
            "the check of the new release failed (exit status 3); its last output: boom",
        ),
        refusal(
            killed,
            None,
            " ",
            "the check of the new release failed (killed by signal 4); it printed nothing",
        ),
        refusal(
            ExitStatus::Code(0),
            None,
            "hi",
            "the check passed without a report, as a Ruby Einhorn's does; to hand back to one: \
             einhornsh -e 'upgrade --to-ruby'. If it is none, the command runs no einhorn, or a \
             wrapper closes descriptors; its last output: hi",
        ),
        refusal(
            ExitStatus::Code(0),
            of_another,
            "",
            "the re-exec command runs einhorn as a child (pid 2001 instead of 2000): its last \
             command must be run with `exec`",
        ),
        refusal(
            ExitStatus::Code(0),
            of_another_format,
            "",
            "einhorn 9.9.9 reads a state of format 1000, and this release writes format 1",
        ),
        refusal(
            ExitStatus::Code(1),
            not_adopted.clone(),
            "no way",
            "einhorn 9.9.9 cannot take over (exit status 1); its last output: no way",
        ),
        refusal(
            ExitStatus::Code(0),
            not_adopted,
            "",
            "einhorn 9.9.9 cannot take over (exit status 0); it printed nothing",
        ),
        refusal(
            killed,
            Some(fit()),
            "",
            "einhorn 9.9.9 cannot take over (killed by signal 4); it printed nothing",
        ),
    ]
}

#[test]
fn a_refusal_says_why() {
    for (status, report, words, why) in refusals() {
        let mut master = busy();
        master.tell(requested(1, "{command: upgrade, id: x}"));
        master.tell(Event::PreflightStarted { pid: Pid(2000), deployment: None });
        let said = said(&mut master, ended(status, report, words));
        assert_eq!(said, [format!("reply x: Not upgrading: {why}")]);
        assert_eq!((master.state.reexec, master.state.waiters.len()), (None, 0));
    }
}

#[test]
fn a_candidate_is_pinned_or_refused_by_name() {
    let refused = "reply x: Not upgrading: einhorn 9.9.9 cannot be pinned: no such file";
    let accepted = "more x: einhorn 9.9.9 can take over; handing over to it";
    for (answer, due) in [(Err("no such file".to_owned()), refused), (Ok(()), accepted)] {
        let mut master = busy();
        master.tell(requested(1, "{command: upgrade, id: x}"));
        master.tell(Event::PreflightStarted { pid: Pid(2000), deployment: None });
        let mut event = ended(ExitStatus::Code(0), Some(fit()), "");
        let Event::PreflightEnded { outcome: PreflightOutcome::Ended { pin, .. } } = &mut event
        else {
            unreachable!()
        };
        *pin = Some(answer);
        assert_eq!(said(&mut master, event), [due]);
    }
}

#[test]
fn other_failures_say_why() {
    let why = || "no such file".to_owned();
    let not_started =
        Event::PreflightEnded { outcome: PreflightOutcome::NotStarted { why: why() } };
    let mut master = busy();
    master.tell(requested(1, "{command: reload}"));
    assert_eq!(said(&mut master, not_started), ["reply: Not upgrading: no such file"]);
    for (event, due) in [
        (
            Event::HandOverFailed { why: why() },
            "reply: Could not upgrade, and went on as before: no such file",
        ),
        (
            Event::RolledBack { why: why() },
            "reply: Rolled back, this release goes on: the new one could not take over: no such \
             file",
        ),
    ] {
        master.tell(requested(1, "{command: upgrade}"));
        conversation(&mut master, found_fit().to_vec());
        assert_eq!(said(&mut master, event), [due]);
    }
    master.tell(requested(1, "{command: upgrade}"));
    master.tell(Event::PreflightStarted { pid: Pid(2000), deployment: None });
    master.now_ms = 40_000;
    master.tell(Event::Turn);
    let killed = ExitStatus::Killed { number: 9, signal: None, core_dumped: false };
    assert_eq!(
        said(&mut master, ended(killed, None, "waiting")),
        [format!(
            "reply: Not upgrading: the new release took longer than {}s to check itself; its last \
             output: waiting",
            PREFLIGHT_MAX.as_secs()
        )]
    );
}

/// Two requests on one connection and one of another client, answered each for itself.
#[test]
fn each_request_has_its_own_last_line() {
    let mut master = busy();
    master.tell(Event::Opened { connection: ConnectionId(9) });
    let events = vec![
        requested(1, "{command: reload, id: 1}"),
        requested(1, "{command: upgrade, id: 2}"),
        requested(9, "{command: upgrade_fleet, id: 3}"),
    ];
    assert_eq!(
        conversation(&mut master, events),
        [
            "more 1: Reloading, as commanded",
            "more 2: Upgrading, as commanded",
            "more 1: Checking again: newer code was asked for",
            "more 2: Checking again: newer code was asked for",
            "more 3: Upgrading, as commanded",
        ]
    );
    conversation(&mut master, found_fit().to_vec());
    let said = said(&mut master, adopted());
    let last: Vec<_> = said.iter().filter(|line| line.starts_with("reply")).collect();
    assert_eq!(last, ["reply 1: Reload done: einhorn VERSION"]);
    master.tell(Event::Closed { connection: ConnectionId(1) });
    let left: Vec<_> = master.state.waiters.iter().map(|waiter| waiter.connection).collect();
    assert_eq!(left, [ConnectionId(9)], "who is gone is owed nothing");
}

/// The earlier upgrade is not the one that was refused.
#[test]
fn a_refusal_in_a_roll_out_is_the_end_for_who_asked_and_news_for_who_waits() {
    let mut master = busy();
    master.tell(requested(1, "{command: upgrade, id: 1}"));
    conversation(&mut master, found_fit().to_vec());
    master.tell(adopted());
    master.tell(requested(1, "{command: upgrade, id: 2}"));
    master.tell(requested(1, "{command: reload, id: 3}"));
    master.tell(Event::PreflightStarted { pid: Pid(2000), deployment: None });
    let refused = ended(ExitStatus::Code(1), None, "");
    let why =
        "Not upgrading: the check of the new release failed (exit status 1); it printed nothing";
    assert_eq!(
        said(&mut master, refused),
        [format!("reply 2: {why}"), format!("reply 3: {why}"), format!("more 1: {why}")]
    );
}

#[test]
fn a_stop_ends_every_conversation() {
    for stage in 0..4 {
        let mut master = busy();
        master.tell(requested(1, "{command: upgrade, id: 1}"));
        let events = found_fit().into_iter().chain([adopted()]);
        conversation(&mut master, events.take(stage).collect());
        let said = said(&mut master, requested(1, "{command: die, id: 2}"));
        assert_eq!(said[0], "reply 1: The upgrade was given up: the master is going down");
        assert!(said[1].starts_with("reply 2: Einhorn is going down!"), "{said:?}");
        assert_eq!(said.len(), 2);
    }
}

#[test]
fn a_roll_out_that_gives_up_says_so_and_the_next_one_begins_anew() {
    let mut master = Master::started(Config { retries: Some(1), ..config(1) });
    master.tell(Event::Opened { connection: ConnectionId(1) });
    master.tell(requested(1, "{command: upgrade, id: 1}"));
    conversation(&mut master, found_fit().to_vec());
    master.tell(adopted());
    let exit = |pid| exited(pid, ExitStatus::Code(1));
    master.tell(Event::Turn);
    let slot = *master.state.ordered.keys().next().unwrap();
    master.tell(Event::Spawned { slot, pid: Pid(1001), connection: None, directory: None });
    master.tell(exit(1001));
    let told = said(&mut master, Event::Turn);
    let why = "Upgrade failed: 1 consecutive deaths before an ACK (--retries); generation 0 \
               is being restored: 0 of its 1 workers were up, and 0 workers were serving";
    assert_eq!(told, [format!("reply 1: {why}")]);
    assert!(master.state.ordered.is_empty() && master.state.workers.contains_key(&Pid(1000)));
    // The next release earns an attempt of its own.
    master.tell(requested(1, "{command: upgrade, id: 2}"));
    conversation(&mut master, found_fit().to_vec());
    master.tell(adopted());
    master.tell(Event::Turn);
    assert_eq!(master.state.ordered.len(), 1);
}

#[test]
fn a_client_waits_for_so_many_upgrades_and_no_more() {
    let mut master = busy();
    for id in 0..256 {
        let said = said(&mut master, requested(1, &format!("{{command: upgrade, id: {id}}}")));
        assert!(said[0].ends_with("Upgrading, as commanded"), "{said:?}");
    }
    let refused = said(&mut master, requested(1, "{command: upgrade, id: 256}"));
    assert_eq!(refused, ["reply 256: Not done: this client waits for 256 things already"]);
}
