//! The end of each turn: compares what should run with what runs, and closes the gap.

use crate::decide::action::Action;
use crate::decide::turn::Turn;
use crate::decide::waiters::Answer;
use crate::decide::{pool, rollout, stop, suspended, upgrade, waiters, workers};
use crate::outcome::Outcome;
use crate::state::{AckMode, Monotonic, State, Stopping, WaitsFor};

/// Compares what should run with what runs and closes the gap; exits once a stopping master has no
/// workers left.
pub(super) fn reconcile(turn: &mut Turn) {
    workers::acknowledge_due(turn);
    stop::advance(turn);
    suspended::let_stop(turn);
    if turn.state.stopping.is_none() {
        upgrade::reconcile(turn);
        rollout::reconcile(turn);
        pool::cull(turn);
        pool::replenish(turn);
        settle(turn);
    }
    exit_when_done(turn);
}

/// When the next [`crate::decide::Event::Turn`] has work to do even if no other event occurs; an
/// instant in the past means immediately.
pub fn next_deadline(state: &State) -> Option<Monotonic> {
    let ack_mode = state.config.ack_mode;
    // This runs every turn, and many masters have no timer or time-out pending.
    let timed = (ack_mode != AckMode::Manual).then(|| state.workers.values());
    let due = timed.into_iter().flatten().filter_map(|worker| worker.ack_due_at(ack_mode));
    let start = pool::next_start(state).map(|(due, _)| due);
    let upgrade = upgrade::deadline(state).into_iter().chain(rollout::deadline(state));
    due.chain(start)
        .chain(upgrade)
        .chain(stop::deadline(state))
        .chain(suspended::deadline(state))
        .min()
}

/// Answers the clients that wait for the target number of workers, once it is reached or cannot be.
fn settle(turn: &mut Turn) {
    let state = &*turn.state;
    if !state.waiters.iter().any(|waiter| waiter.waits_for == WaitsFor::Settled) {
        return;
    }
    let target = state.config.target;
    let answer = if state.has_given_up() {
        let message = format!("Not settled: {} of {target} are up", state.current_capacity());
        Answer { outcome: Outcome::Failed, message }
    } else if state.capacity() == target && state.staying_count() == target {
        Answer::done(format!("{target} workers are up"))
    } else {
        return;
    };
    waiters::finish(turn, |waiter| waiter.waits_for == WaitsFor::Settled, &answer);
}

fn exit_when_done(turn: &mut Turn) {
    if !turn.state.workers.is_empty() || !turn.state.ordered.is_empty() {
        return;
    }
    if turn.state.stopping.is_none() && turn.state.has_given_up() {
        turn.error("No worker is left and no more attempts are allowed: leaving");
        turn.state.stopping = Some(Stopping { exit_code: 1 });
        upgrade::abandon(turn);
    }
    if let Some(Stopping { exit_code: code }) = turn.state.stopping {
        let message = "All workers are gone";
        turn.info(message);
        waiters::notify_exit_waiters(turn, message);
        turn.actions.push(Action::Exit { code });
    }
}
