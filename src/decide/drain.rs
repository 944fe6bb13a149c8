//! Clients that wait until workers have left: old ones after an upgrade (`--drained`), surplus ones
//! after a change of their number (`--wait`).

use crate::decide::turn::{Turn, counted};
use crate::decide::waiters::{self, Answer};
use crate::outcome::Outcome;
use crate::state::{Generation, State, Waiter, WaitsFor, Worker};
use crate::status;

/// Whether workers of other generations are still there, or what they leave running is stopped.
pub(super) fn is_under_way(state: &State) -> bool {
    is_any_left(state, |worker| worker.generation != state.generation)
}

/// Answers the clients that wait for the end of old workers.
pub(super) fn finish(turn: &mut Turn) {
    let state = &*turn.state;
    let is_gone = |before: Generation| !is_any_left(state, |worker| worker.generation < before);
    let waits = state.waiters.iter().filter_map(|waiter| match waiter.waits_for {
        WaitsFor::Drained { before } if is_gone(before) => Some(before),
        _ => None,
    });
    let Some(before) = waits.min() else { return };
    let took = state.last_upgrade.as_ref().filter(|ended| ended.generation == before);
    let took = took.map(|ended| status::milliseconds(status::since_request(ended, turn.now)));
    let took = took.map(|took| format!(" after {}", status::span(took))).unwrap_or_default();
    let message = format!(
        "Upgrade done: generation {} is serving, and the old workers are gone{took}",
        before.0
    );
    answer(turn, WaitsFor::Drained { before }, &message);
}

/// Answers the clients that wait for the target number of workers, once it is reached and those that
/// are surplus are gone, or once it cannot be.
pub(super) fn settle(turn: &mut Turn) {
    let state = &*turn.state;
    if !state.waiters.iter().any(|waiter| waiter.waits_for == WaitsFor::Settled) {
        return;
    }
    let target = state.config.target;
    if state.has_given_up() {
        let message = format!("Not settled: {} of {target} are up", state.current_capacity());
        let answer = Answer { outcome: Outcome::Failed, message };
        waiters::finish(turn, |waiter| waiter.waits_for == WaitsFor::Settled, &answer);
    } else if state.capacity() == target
        && state.staying_count() == target
        && !is_any_left(state, |it| it.generation == state.generation && it.is_stopping())
    {
        answer(turn, WaitsFor::Settled, &format!("{target} workers are up"));
    }
}

/// Answers the clients that wait for this. Whoever saw workers being killed is told so.
pub(super) fn answer(turn: &mut Turn, waits_for: WaitsFor, message: &str) {
    let waits = |waiter: &Waiter| waiter.waits_for == waits_for;
    let counts = turn.state.waiters.iter().filter(|waiter| waits(waiter));
    let mut counts: Vec<u32> = counts.map(|waiter| waiter.killed_count).collect();
    counts.sort_unstable();
    counts.dedup();
    for count in counts {
        let answer = hurt(message, count);
        waiters::finish(turn, |it| waits(it) && it.killed_count == count, &answer);
    }
}

/// The answer to a client that saw this many workers being killed instead of draining.
fn hurt(message: &str, killed_count: u32) -> Answer {
    if killed_count == 0 {
        return Answer::done(message);
    }
    let was = if killed_count == 1 { "was" } else { "were" };
    let whom = counted(usize::try_from(killed_count).unwrap_or(usize::MAX), "worker");
    let message = format!("{message}, but {whom} {was} killed instead of draining");
    Answer { outcome: Outcome::Killed, message }
}

/// Whether there are such workers, or leftovers of them that their schedule still stops.
fn is_any_left(state: &State, is_meant: impl Fn(&Worker) -> bool) -> bool {
    let is_stopped = |worker: &Worker| worker.stop_progress.is_some();
    let mut leftovers = state.leftovers.values().map(|leftover| &leftover.worker);
    state.workers.values().any(&is_meant) || leftovers.any(|it| is_stopped(it) && is_meant(it))
}
