//! Clients that wait: how what they wait for goes on, and one last line each.

use std::path::Path;

use crate::decide::action::{Action, ReportKind};
use crate::decide::turn::Turn;
use crate::outcome::Outcome;
use crate::protocol::{End, Numbers, Progress, ProgressStage, Reply, ReplyEvent};
use crate::scalar::Scalar;
use crate::state::{
    ConnectionId, EndedUpgrade, Failure, Reexec, State, UpgradeKind, Waiter, WaitsFor,
};
use crate::status;

/// How much one client may wait for; it is told of every step of each. Nobody waits for more than a
/// few.
const WAITERS_MAX: usize = 256;

/// Who has sent a request.
#[derive(Clone, Debug)]
pub(super) struct Asker {
    pub(super) connection: ConnectionId,
    pub(super) request_id: Option<Scalar>,
    /// Whether its replies carry events.
    pub(super) wants_events: bool,
}

/// The one reply to a request, or the last one.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) outcome: Outcome,
    pub(super) message: String,
}

impl Answer {
    /// It was done, or is what was asked about.
    pub(super) fn done(message: impl Into<String>) -> Answer {
        Answer { outcome: Outcome::Done, message: message.into() }
    }

    /// The command or its arguments are wrong.
    pub(super) fn not_understood(message: impl Into<String>) -> Answer {
        Answer { outcome: Outcome::NotUnderstood, message: message.into() }
    }

    /// It cannot be done now.
    pub(super) fn refused(message: impl Into<String>) -> Answer {
        Answer { outcome: Outcome::Refused, message: message.into() }
    }
}

/// Answers a request that is not waited for.
pub(super) fn answer(turn: &mut Turn, asker: &Asker, answer: Answer) {
    let reply = answered(turn, asker, answer);
    turn.actions.push(Action::Reply { connection: asker.connection, reply });
}

/// Answers how the master is, once the kernel was asked too.
pub(super) fn report(turn: &mut Turn, asker: &Asker, kind: ReportKind) {
    let reply = answered(turn, asker, Answer::done(""));
    turn.actions.push(Action::Report { connection: asker.connection, kind, reply });
}

fn answered(turn: &Turn, asker: &Asker, answer: Answer) -> Reply {
    let event = asker.wants_events.then(|| {
        let numbers = status::numbers(turn.state, turn.now);
        end(numbers, &answer, turn.state.began_in(turn.state.generation), &[]).to_json()
    });
    Reply { message: answer.message, request_id: asker.request_id.clone(), wait: false, event }
}

/// Takes on a client that waits, if it may, and tells it so.
pub(super) fn join(turn: &mut Turn, asker: Asker, waits_for: WaitsFor, message: &str) -> bool {
    if let Some(refusal) = refuse(turn, &asker) {
        answer(turn, &asker, refusal);
        return false;
    }
    let Asker { connection, request_id, wants_events } = asker;
    let waiter = Waiter { connection, request_id, waits_for, wants_events };
    tell(turn, &waiter, message);
    turn.state.waiters.push(waiter);
    true
}

/// Why a client may not wait for one thing more, if it may not.
pub(super) fn refuse(turn: &Turn, asker: &Asker) -> Option<Answer> {
    let waiting = turn.state.waiters.iter().filter(|known| known.connection == asker.connection);
    (waiting.count() >= WAITERS_MAX).then(|| {
        Answer::refused(format!("Not done: this client waits for {WAITERS_MAX} things already"))
    })
}

/// `wait`: joins those who wait for the upgrade in progress, or tells how the last one ended.
pub(super) fn attach(turn: &mut Turn, asker: Asker) {
    let state = &*turn.state;
    let waits_for = match (&state.reexec, &state.rollout, state.upgrade_due_at) {
        (Some(Reexec { kind: UpgradeKind::Reload, .. }), None, None) => WaitsFor::Reexec,
        (Some(Reexec { kind: UpgradeKind::Smooth | UpgradeKind::Fleet, .. }), ..)
        | (_, None, Some(_)) => WaitsFor::Upgrade,
        (_, Some(_), _) => WaitsFor::Rollout,
        (None, None, None) => return tell_last(turn, &asker),
    };
    join(turn, asker, waits_for, "Waiting for the upgrade in progress");
}

fn tell_last(turn: &mut Turn, asker: &Asker) {
    let Some(ended) = turn.state.last_upgrade.clone() else {
        return answer(turn, asker, Answer::done("There was no upgrade to wait for"));
    };
    let message = format!("How the last upgrade ended: {}", ended.message);
    let told = Answer { outcome: ended.outcome, message };
    let event = asker.wants_events.then(|| {
        let numbers = Numbers {
            generation: ended.generation.0,
            elapsed_ms: status::milliseconds(ended.took),
            ..status::numbers(turn.state, turn.now)
        };
        end(numbers, &told, ended.directory.as_deref(), &ended.failures)
    });
    send(turn, asker, told.message, false, event);
}

/// Logs how something goes on, and tells everyone who waits.
pub(super) fn announce(turn: &mut Turn, message: &str) {
    turn.info(message);
    tell_all(turn, message);
}

/// The same of what needs a person.
pub(super) fn announce_error(turn: &mut Turn, message: &str) {
    turn.error(message);
    tell_all(turn, message);
}

fn tell_all(turn: &mut Turn, message: &str) {
    for waiter in turn.state.waiters.clone() {
        tell(turn, &waiter, message);
    }
}

/// Tells a client how it goes on.
pub(super) fn tell(turn: &mut Turn, waiter: &Waiter, message: &str) {
    let event = waiter.wants_events.then(|| {
        ReplyEvent::Progress(Progress {
            stage: stage(turn.state, waiter.waits_for),
            numbers: status::numbers(turn.state, turn.now),
            message: message.to_owned(),
        })
    });
    send(turn, &asker(waiter), message.to_owned(), true, event);
}

/// Notes how an upgrade has ended, and gives those who wait for that their last line.
pub(super) fn finish_upgrade(
    turn: &mut Turn,
    ended: EndedUpgrade,
    numbers: Numbers,
    is_over: impl Fn(&Waiter) -> bool,
) {
    let told = Answer { outcome: ended.outcome, message: ended.message.clone() };
    let event = end(numbers, &told, ended.directory.as_deref(), &ended.failures);
    send_last(turn, is_over, &told.message, &event);
    turn.state.last_upgrade = Some(ended);
}

/// Gives some of those who wait their last line.
pub(super) fn finish(turn: &mut Turn, is_over: impl Fn(&Waiter) -> bool, told: &Answer) {
    let numbers = status::numbers(turn.state, turn.now);
    let event = end(numbers, told, turn.state.began_in(turn.state.generation), &[]);
    send_last(turn, is_over, &told.message, &event);
}

/// Those who wait for the end of the master hear of it.
pub(super) fn notify_exit_waiters(turn: &mut Turn, message: &str) {
    let told = Answer::done(message);
    finish(turn, |waiter| waiter.waits_for == WaitsFor::Exit, &told);
}

/// Sends each of those the message, with the event where it wants one, and forgets them.
fn send_last(
    turn: &mut Turn,
    is_over: impl Fn(&Waiter) -> bool,
    message: &str,
    event: &ReplyEvent,
) {
    let (done, staying): (Vec<Waiter>, Vec<Waiter>) =
        std::mem::take(&mut turn.state.waiters).into_iter().partition(is_over);
    turn.state.waiters = staying;
    for waiter in &done {
        let event = waiter.wants_events.then(|| event.clone());
        send(turn, &asker(waiter), message.to_owned(), false, event);
    }
}

fn asker(waiter: &Waiter) -> Asker {
    let Waiter { connection, request_id, waits_for: _, wants_events } = waiter.clone();
    Asker { connection, request_id, wants_events }
}

fn send(turn: &mut Turn, asker: &Asker, message: String, wait: bool, event: Option<ReplyEvent>) {
    let event = event.map(|event| event.to_json());
    let reply = Reply { message, request_id: asker.request_id.clone(), wait, event };
    turn.actions.push(Action::Reply { connection: asker.connection, reply });
}

fn end(
    numbers: Numbers,
    told: &Answer,
    release: Option<&Path>,
    failures: &[Failure],
) -> ReplyEvent {
    ReplyEvent::End(End {
        outcome: told.outcome,
        exit_status: told.outcome.exit_status(),
        numbers,
        release: release.map(|directory| directory.display().to_string()),
        message: told.message.clone(),
        failures: failures.iter().map(status::failure).collect(),
    })
}

/// What is done for a client that waits for this.
fn stage(state: &State, waits_for: WaitsFor) -> ProgressStage {
    match waits_for {
        WaitsFor::Settled => ProgressStage::Settling,
        WaitsFor::Exit => ProgressStage::Stopping,
        // It is asked for, and begins at once.
        WaitsFor::Reexec | WaitsFor::Upgrade if state.reexec.is_none() => ProgressStage::Preflight,
        WaitsFor::Reexec | WaitsFor::Rollout | WaitsFor::Upgrade => {
            status::stage(state).unwrap_or(ProgressStage::Rollout)
        }
    }
}
