//! Clients that wait for something to complete: progress reports, and one final reply each.

use std::path::Path;

use crate::decide::action::{Action, ReportKind};
use crate::decide::turn::{Turn, counted, size};
use crate::outcome::Outcome;
use crate::protocol::{End, Numbers, Progress, ProgressStage, Reply, ReplyEvent};
use crate::scalar::Scalar;
use crate::state::{
    ConnectionId, EndedUpgrade, Failure, Reexec, State, UpgradeKind, Waiter, WaitsFor,
};
use crate::status;

/// How many things one client may wait for, since each costs a reply per progress report. Real
/// clients wait for a few at most.
const WAITERS_MAX: usize = 256;

/// The client that sent a request.
#[derive(Clone, Debug)]
pub(super) struct Requester {
    pub(super) connection: ConnectionId,
    pub(super) request_id: Option<Scalar>,
    /// Whether it wants machine-readable events.
    pub(super) wants_events: bool,
    /// Whether it waits until old workers have drained.
    pub(super) until_drained: bool,
}

/// The final reply to a request.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) outcome: Outcome,
    pub(super) message: String,
}

impl Answer {
    /// The command succeeded, or `message` is the information asked for.
    pub(super) fn done(message: impl Into<String>) -> Answer {
        Answer { outcome: Outcome::Done, message: message.into() }
    }

    /// The command or its arguments are invalid.
    pub(super) fn not_understood(message: impl Into<String>) -> Answer {
        Answer { outcome: Outcome::NotUnderstood, message: message.into() }
    }

    /// The command cannot be carried out now.
    pub(super) fn refused(message: impl Into<String>) -> Answer {
        Answer { outcome: Outcome::Refused, message: message.into() }
    }
}

/// Answers a request immediately.
pub(super) fn answer(turn: &mut Turn, requester: &Requester, answer: Answer) {
    let reply = answered(turn, requester, answer);
    turn.actions.push(Action::Reply { connection: requester.connection, reply });
}

/// Answers with a status report, which the shell completes with figures from the kernel.
pub(super) fn report(turn: &mut Turn, requester: &Requester, kind: ReportKind) {
    let reply = answered(turn, requester, Answer::done(""));
    turn.actions.push(Action::Report { connection: requester.connection, kind, reply });
}

fn answered(turn: &Turn, requester: &Requester, answer: Answer) -> Reply {
    let event = requester.wants_events.then(|| {
        let numbers = status::numbers(turn.state, turn.now);
        end(numbers, &answer, turn.state.directory_of(turn.state.generation), &[]).to_json()
    });
    Reply { message: answer.message, request_id: requester.request_id.clone(), wait: false, event }
}

/// Adds a waiter and sends it a first message. Returns false if the client was refused.
pub(super) fn join(
    turn: &mut Turn,
    requester: Requester,
    waits_for: WaitsFor,
    message: &str,
) -> bool {
    if let Some(refusal) = refuse(turn, &requester) {
        answer(turn, &requester, refusal);
        return false;
    }
    let Requester { connection, request_id, wants_events, until_drained } = requester;
    let waiter =
        Waiter { connection, request_id, waits_for, wants_events, until_drained, killed_count: 0 };
    tell(turn, &waiter, message);
    turn.state.waiters.push(waiter);
    true
}

/// Refuses a client that waits for too many things already.
pub(super) fn refuse(turn: &Turn, requester: &Requester) -> Option<Answer> {
    let waiting =
        turn.state.waiters.iter().filter(|known| known.connection == requester.connection);
    (waiting.count() >= WAITERS_MAX).then(|| {
        Answer::refused(format!("Not done: this client waits for {WAITERS_MAX} things already"))
    })
}

/// `wait`: waits for the upgrade in progress, or answers how the last one ended.
pub(super) fn attach(turn: &mut Turn, requester: Requester) {
    let state = &*turn.state;
    let waits_for = match (&state.reexec, &state.rollout, state.upgrade_due_at) {
        (Some(Reexec { kind: UpgradeKind::Reload, .. }), None, None) => WaitsFor::Reexec,
        (Some(Reexec { kind: UpgradeKind::Smooth | UpgradeKind::Fleet, .. }), ..)
        | (_, None, Some(_)) => WaitsFor::Upgrade,
        (_, Some(_), _) => WaitsFor::Rollout,
        (None, None, None) if state.ending_upgrade.is_some() => WaitsFor::Rollout,
        (None, None, None) if requester.until_drained && drains_after_success(state) => {
            if state.stopping.is_some() {
                return answer(turn, &requester, undrained());
            }
            let waits_for = WaitsFor::Drained { before: state.generation };
            let killed_count = state.last_upgrade.as_ref().map_or(0, EndedUpgrade::killed_count);
            if join(turn, requester, waits_for, "Waiting for the old workers")
                && let Some(waiter) = turn.state.waiters.last_mut()
            {
                waiter.killed_count = killed_count;
            }
            return;
        }
        (None, None, None) => return tell_last(turn, &requester),
    };
    join(turn, requester, waits_for, "Waiting for the upgrade in progress");
}

/// Whether old workers are there that the last upgrade has replaced.
fn drains_after_success(state: &State) -> bool {
    let outcome = state.last_upgrade.as_ref().map(|ended| ended.outcome);
    matches!(outcome, Some(Outcome::Done | Outcome::Killed))
        && state.has_any_left(|worker| worker.generation < state.generation)
}

/// The answer to a client that waits for old workers while the master is stopping.
pub(super) fn undrained() -> Answer {
    let message = "Not drained: the master is going down".to_owned();
    Answer { outcome: Outcome::Aborted, message }
}

fn tell_last(turn: &mut Turn, requester: &Requester) {
    let Some(ended) = turn.state.last_upgrade.clone() else {
        return answer(turn, requester, Answer::done("There was no upgrade to wait for"));
    };
    let since = match ended.killed_later_count {
        0 if turn.state.is_draining() => String::new(),
        0 => "; no old worker is left by now".to_owned(),
        count => {
            let was = if count == 1 { "was" } else { "were" };
            let whom = counted(size(count), "old worker");
            format!("; after its end {whom} {was} killed instead of draining")
        }
    };
    let is_hurt = requester.until_drained && ended.killed_count() > 0;
    let is_done = ended.outcome == Outcome::Done;
    let outcome = if is_done && is_hurt { Outcome::Killed } else { ended.outcome };
    let is_successful = matches!(ended.outcome, Outcome::Done | Outcome::Killed);
    let since = if is_successful { since } else { String::new() };
    let message = format!("How the last upgrade ended: {}{since}", ended.message);
    let answer = Answer { outcome, message };
    let event = requester.wants_events.then(|| {
        let numbers = Numbers {
            generation: ended.generation.0,
            elapsed_ms: status::milliseconds(ended.took),
            ..status::numbers(turn.state, turn.now)
        };
        end(numbers, &answer, ended.directory.as_deref(), &ended.failures)
    });
    send(turn, requester, answer.message, false, event);
}

/// Logs a message as info and sends it to all waiters.
pub(super) fn announce(turn: &mut Turn, message: &str) {
    turn.info(message);
    tell_all(turn, message);
}

/// Logs a message as an error and sends it to all waiters.
pub(super) fn announce_error(turn: &mut Turn, message: &str) {
    turn.error(message);
    tell_all(turn, message);
}

fn tell_all(turn: &mut Turn, message: &str) {
    for waiter in turn.state.waiters.clone() {
        tell(turn, &waiter, message);
    }
}

/// Sends a waiter a progress report.
pub(super) fn tell(turn: &mut Turn, waiter: &Waiter, message: &str) {
    let event = waiter.wants_events.then(|| {
        ReplyEvent::Progress(Progress {
            stage: stage(turn.state, waiter.waits_for),
            numbers: status::numbers(turn.state, turn.now),
            message: message.to_owned(),
        })
    });
    send(turn, &requester(waiter), message.to_owned(), true, event);
}

/// Records how an upgrade ended, and sends its waiters their final reply.
pub(super) fn finish_upgrade(
    turn: &mut Turn,
    ended: EndedUpgrade,
    numbers: Numbers,
    is_done: impl Fn(&Waiter) -> bool,
) {
    let answer = Answer { outcome: ended.outcome, message: ended.message.clone() };
    let event = end(numbers, &answer, ended.directory.as_deref(), &ended.failures);
    let is_successful = matches!(ended.outcome, Outcome::Done | Outcome::Killed);
    let before = turn.state.generation;
    turn.state.last_upgrade = Some(ended);
    if is_successful && turn.state.is_draining() {
        let stay = |waiter: &&mut Waiter| waiter.until_drained && is_done(waiter);
        let mut staying = std::mem::take(&mut turn.state.waiters);
        for waiter in staying.iter_mut().filter(stay) {
            waiter.waits_for = WaitsFor::Drained { before };
            tell(turn, waiter, &answer.message);
        }
        turn.state.waiters = staying;
    }
    send_last(turn, is_done, &answer.message, &event);
}

/// Sends the matching waiters their final reply.
pub(super) fn finish(turn: &mut Turn, is_done: impl Fn(&Waiter) -> bool, answer: &Answer) {
    let numbers = status::numbers(turn.state, turn.now);
    let event = end(numbers, answer, turn.state.directory_of(turn.state.generation), &[]);
    send_last(turn, is_done, &answer.message, &event);
}

/// Answers the clients that wait for this. Whoever saw workers being killed is told so.
pub(super) fn finish_counted(turn: &mut Turn, waits_for: WaitsFor, message: &str) {
    let waits = |waiter: &Waiter| waiter.waits_for == waits_for;
    let counts = turn.state.waiters.iter().filter(|waiter| waits(waiter));
    let mut counts: Vec<u32> = counts.map(|waiter| waiter.killed_count).collect();
    counts.sort_unstable();
    counts.dedup();
    for count in counts {
        let answer = hurt(message, count);
        finish(turn, |it| waits(it) && it.killed_count == count, &answer);
    }
}

/// The answer to a client that saw this many workers being killed instead of draining.
fn hurt(message: &str, killed_count: u32) -> Answer {
    if killed_count == 0 {
        return Answer::done(message);
    }
    let was = if killed_count == 1 { "was" } else { "were" };
    let whom = counted(size(killed_count), "worker");
    let message = format!("{message}, but {whom} {was} killed instead of draining (see the log)");
    Answer { outcome: Outcome::Killed, message }
}

/// Sends clients that wait for the master's exit their final reply.
pub(super) fn notify_exit_waiters(turn: &mut Turn, message: &str) {
    finish_counted(turn, WaitsFor::Exit, message);
}

/// Sends the matching waiters a message, with the event if they want one, and removes them.
fn send_last(
    turn: &mut Turn,
    is_done: impl Fn(&Waiter) -> bool,
    message: &str,
    event: &ReplyEvent,
) {
    let (done, staying): (Vec<Waiter>, Vec<Waiter>) =
        std::mem::take(&mut turn.state.waiters).into_iter().partition(is_done);
    turn.state.waiters = staying;
    for waiter in &done {
        let event = waiter.wants_events.then(|| event.clone());
        send(turn, &requester(waiter), message.to_owned(), false, event);
    }
}

fn requester(waiter: &Waiter) -> Requester {
    let Waiter { connection, request_id, wants_events, until_drained, .. } = waiter.clone();
    Requester { connection, request_id, wants_events, until_drained }
}

fn send(
    turn: &mut Turn,
    requester: &Requester,
    message: String,
    wait: bool,
    event: Option<ReplyEvent>,
) {
    let event = event.map(|event| event.to_json());
    let reply = Reply { message, request_id: requester.request_id.clone(), wait, event };
    turn.actions.push(Action::Reply { connection: requester.connection, reply });
}

fn end(
    numbers: Numbers,
    answer: &Answer,
    release: Option<&Path>,
    failures: &[Failure],
) -> ReplyEvent {
    ReplyEvent::End(End {
        outcome: answer.outcome,
        exit_status: answer.outcome.exit_status(),
        numbers,
        release: release.map(|directory| directory.display().to_string()),
        message: answer.message.clone(),
        failures: failures.iter().map(status::failure).collect(),
    })
}

/// The stage to report to a client that waits for this.
fn stage(state: &State, waits_for: WaitsFor) -> ProgressStage {
    match waits_for {
        WaitsFor::Settled => ProgressStage::Settling,
        WaitsFor::Drained { .. } => ProgressStage::Draining,
        WaitsFor::Exit => ProgressStage::Stopping,
        // The request was accepted, and the preflight begins in this step.
        WaitsFor::Reexec | WaitsFor::Upgrade if state.reexec.is_none() => ProgressStage::Preflight,
        WaitsFor::Reexec | WaitsFor::Rollout | WaitsFor::Upgrade => {
            status::stage(state).unwrap_or(ProgressStage::Rollout)
        }
    }
}
