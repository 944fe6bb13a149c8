//! The end of a successful upgrade. It waits a moment for old workers that are expected to be
//! killed by what asked them to stop, so that it tells what happened and not what was expected.

use std::time::Duration;

use crate::decide::turn::{Turn, counted, size};
use crate::decide::waiters;
use crate::outcome::Outcome;
use crate::protocol::Numbers;
use crate::state::{
    Delivery, EndedUpgrade, EndingUpgrade, Killed, Monotonic, Pid, Signal, State, Unhandled,
    WaitsFor, Worker,
};
use crate::status;

/// How long the end waits at most. A process that has no handler is gone within milliseconds,
/// unless the machine is overloaded; what happens later is told later.
const DEATHS_MAX: Duration = Duration::from_secs(1);

/// The new workers are up, and the old ones have been asked to stop or are just about to be.
pub(super) fn begin(turn: &mut Turn, ended: EndedUpgrade, failure_count: u32) {
    let deadline = turn.now.monotonic + DEATHS_MAX;
    turn.state.ending_upgrade = Some(EndingUpgrade { ended, failure_count, deadline });
}

/// Ends the upgrade if there is nothing left to wait for.
pub(super) fn finish_when_ready(turn: &mut Turn) {
    if deadline(turn.state).is_some_and(|deadline| deadline <= turn.now.monotonic) {
        finish(turn);
    }
}

/// Ends the upgrade with what is known by now.
pub(super) fn finish(turn: &mut Turn) {
    let Some(EndingUpgrade { ended, failure_count, .. }) = turn.state.ending_upgrade.take() else {
        return;
    };
    let is_hurt = ended.killed.count() > 0;
    let outcome = if is_hurt { Outcome::Killed } else { Outcome::Done };
    let message = message(turn.state, &ended);
    let numbers = Numbers {
        failed: failure_count,
        elapsed_ms: status::milliseconds(ended.took),
        ..status::numbers(turn.state, turn.now)
    };
    match is_hurt {
        true => turn.error(message.clone()),
        false => turn.info(message.clone()),
    }
    let ended = EndedUpgrade { outcome, message, ..ended };
    waiters::finish_upgrade(turn, ended, numbers, |it| it.waits_for == WaitsFor::Rollout);
}

/// When the upgrade ends at the latest; at once if nothing is expected.
pub(super) fn deadline(state: &State) -> Option<Monotonic> {
    let deadline = state.ending_upgrade.as_ref()?.deadline;
    Some(if state.leaving_workers().any(is_expected_to_die) { deadline } else { Monotonic(0) })
}

/// Whether it is not known yet what its signal does to a worker, or known that it kills it.
fn is_expected_to_die(worker: &Worker) -> bool {
    let sent = worker.stop_signal.as_ref().filter(|_| worker.is_acked());
    sent.is_some_and(|sent| sent.delivery == Delivery::Ordered || sent.is_fatal())
}

/// The last line of a successful upgrade. It begins with the words that the original's clients look
/// for.
fn message(state: &State, ended: &EndedUpgrade) -> String {
    let workers = counted(size(state.config.target), "worker");
    let generation = ended.generation.0;
    let directory = ended.directory.as_ref();
    let release = directory.map(|it| format!(" ({})", it.display())).unwrap_or_default();
    let took = status::span(status::milliseconds(ended.took));
    let but =
        killed_phrase(&ended.killed).map(|killed| format!(", but {killed}")).unwrap_or_default();
    let rest = those_left(state).map(|rest| format!("; {rest}")).unwrap_or_default();
    format!("Upgrade done: {workers} of generation {generation}{release} in {took}{but}{rest}")
}

/// `2 old workers were killed instead of draining: python3 has no handler for USR2 (see --stop)`.
pub(super) fn killed_phrase(killed: &Killed) -> Option<String> {
    let unhandled = killed.first_unhandled.as_ref().map(|Unhandled { program, signal }| {
        let program = status::printable(program.as_deref().unwrap_or("the program"));
        format!("{program} has no handler for {signal} (see --stop)")
    });
    let overdue = (killed.overdue_count > 0)
        .then(|| format!("{} sent {} at the end of the schedule", were(killed), Signal::Kill));
    let why: Vec<String> = unhandled.into_iter().chain(overdue).collect();
    let count = killed.count();
    let was = if count == 1 { "was" } else { "were" };
    (count > 0).then(|| {
        let whom = counted(size(count), "old worker");
        format!("{whom} {was} killed instead of draining: {}", why.join(", and "))
    })
}

fn were(killed: &Killed) -> String {
    match killed.overdue_count {
        1 => "1 was".to_owned(),
        count => format!("{count} were"),
    }
}

/// `1 old worker still draining; 1 old worker cannot be sent TERM: Operation not permitted`.
fn those_left(state: &State) -> Option<String> {
    // A worker is its process group: what it has left drains too, if it is stopped at all.
    let is_left = |pid: &Pid| !state.workers.contains_key(pid);
    let stopped = || state.stoppables().filter(move |(pid, it)| !is_left(pid) || it.is_stopping());
    let old = || stopped().map(|(_, it)| it).filter(|it| it.generation != state.generation);
    let failure = |worker: &Worker| worker.stop_signal.as_ref()?.refusal();
    let unsent = old().filter_map(failure).count();
    let draining = old().count() - unsent;
    let draining =
        (draining > 0).then(|| format!("{} still draining", counted(draining, "old worker")));
    let unsent =
        old().find_map(failure).map(|first| format!("{} {first}", counted(unsent, "old worker")));
    let parts: Vec<String> = draining.into_iter().chain(unsent).collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}
