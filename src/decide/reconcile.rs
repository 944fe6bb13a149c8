//! The end of each turn: compares what should run with what runs, and closes the gap.

use crate::decide::action::Action;
use crate::decide::turn::{Turn, counted, list};
use crate::decide::waiters::Answer;
use crate::decide::{
    delivery, drain, ending, leftovers, pool, rollout, stop, suspended, upgrade, waiters, workers,
};
use crate::outcome::Outcome;
use crate::state::{AckMode, Monotonic, Pid, State, Stopping, WaitsFor};
use crate::status;

/// Compares what should run with what runs and closes the gap; exits once a stopping master has no
/// workers left.
pub(super) fn reconcile(turn: &mut Turn) {
    workers::acknowledge_due(turn);
    stop::advance(turn);
    leftovers::look_again(turn);
    if turn.state.stopping.is_none() {
        upgrade::reconcile(turn);
        rollout::reconcile(turn);
        pool::cull(turn);
        pool::replenish(turn);
        drain::settle(turn);
        drain::finish(turn);
    }
    // After everything that asks workers to stop.
    suspended::let_stop(turn);
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
        .chain(leftovers::deadline(state))
        .chain(ending::deadline(state))
        .chain(exit_at(state))
        .min()
}

fn exit_when_done(turn: &mut Turn) {
    let state = &*turn.state;
    let is_empty = state.workers.is_empty() && state.ordered.is_empty();
    if state.stopping.is_none() && is_empty && state.has_given_up() {
        turn.error("No worker is left and no more attempts are allowed: leaving");
        turn.state.stopping = Some(Stopping { exit_code: 1 });
        upgrade::abandon(turn);
    }
    let Some(Stopping { exit_code: code }) = turn.state.stopping else { return };
    if exit_at(turn.state).is_none_or(|at| at > turn.now.monotonic) {
        return;
    }
    let given_up = remaining(turn.state);
    if given_up.is_empty() {
        let message = "All workers are gone";
        turn.info(message);
        waiters::notify_exit_waiters(turn, message);
        turn.actions.push(Action::Exit { code });
    } else {
        let message = format!("Leaving behind {}", given_up.join("; "));
        turn.error(message.clone());
        let answer = Answer { outcome: Outcome::Failed, message };
        waiters::finish(turn, |waiter| waiter.waits_for == WaitsFor::Exit, &answer);
        turn.actions.push(Action::Exit { code: code.max(1) });
    }
}

/// When a stopping master no longer waits for what is there; `None` if that is not known yet.
fn exit_at(state: &State) -> Option<Monotonic> {
    if state.stopping.is_none() || !state.ordered.is_empty() {
        return None;
    }
    let schedule = state.config.stop_schedule();
    let workers = state.workers.values().map(|worker| delivery::given_up_at(worker, &schedule));
    let leftovers = state.leftovers.values().map(|left| leftovers::given_up_at(state, left));
    workers.chain(leftovers).try_fold(Monotonic(0), |latest, at| Some(latest.max(at?)))
}

/// What a stopping master has given up, in words.
fn remaining(state: &State) -> Vec<String> {
    let mut given_up = Vec::new();
    if let Some(first) = state.workers.values().next()
        && let Some(sent) = &first.stop_signal
    {
        let pids: Vec<Pid> = state.workers.keys().copied().collect();
        let (whom, why) = (counted(pids.len(), "worker"), sent.failure().unwrap_or_default());
        let signal = sent.signal;
        given_up.push(format!("{whom} that cannot be sent {signal} ({why}): {}", list(&pids)));
    }
    for (group, leftover) in &state.leftovers {
        if leftover.worker.stop_progress.is_some() {
            given_up.push(format!("{} of worker {group}", status::leftover(leftover)));
        }
    }
    given_up
}
