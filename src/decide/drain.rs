//! Clients that wait until workers have left: old ones after an upgrade (`--drained`), surplus ones
//! after a change of their number (`--wait`).

use std::collections::BTreeSet;

use crate::decide::turn::Turn;
use crate::decide::waiters::{self, Answer};
use crate::outcome::Outcome;
use crate::state::{Generation, WaitsFor};
use crate::status;

/// Answers the clients that wait for the end of old workers.
pub(super) fn finish(turn: &mut Turn) {
    let state = &*turn.state;
    let is_gone = |before: Generation| !state.has_any_left(|worker| worker.generation < before);
    let waits = state.waiters.iter().filter_map(|waiter| match waiter.waits_for {
        WaitsFor::Drained { before } if is_gone(before) => Some(before),
        _ => None,
    });
    let gone: BTreeSet<Generation> = waits.collect();
    for before in gone {
        let took = turn.state.last_upgrade.as_ref();
        let took = took.filter(|it| it.generation == before && it.kind.rollout().is_some());
        let took = took.map(|ended| status::milliseconds(status::since_request(ended, turn.now)));
        let took = took.map(|took| format!(" after {}", status::span(took))).unwrap_or_default();
        let message =
            format!("Upgrade done: all workers before generation {} are gone{took}", before.0);
        waiters::finish_counted(turn, WaitsFor::Drained { before }, &message);
    }
}

/// Answers the clients that wait for the target number of workers, once it is reached and the
/// surplus ones are gone, or once it cannot be.
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
        && !state.has_any_left(|it| it.generation == state.generation && it.is_stopping())
    {
        let are_up = if target == 1 {
            "1 worker is up".to_owned()
        } else {
            format!("{target} workers are up")
        };
        waiters::finish_counted(turn, WaitsFor::Settled, &are_up);
    }
}
