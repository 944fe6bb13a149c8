//! Failures of new workers during a roll-out, and when they are too many
//! (docs/decisions/0010-upgrades-that-end.md).

use crate::decide::turn::{Turn, counted, size};
use crate::decide::waiters::announce;
use crate::decide::{backoff, canary, stop};
use crate::state::{
    AckMode, ExitStatus, FAILURES_KEPT, Failure, Monotonic, Pid, RolloutStage, Slot, State,
    Suspended, Worker, last_words,
};

/// A worker exited without having been asked to.
pub(super) fn worker_exited(
    turn: &mut Turn,
    pid: Pid,
    worker: &Worker,
    is_up: bool,
    status: ExitStatus,
    stderr_tail: &[u8],
) {
    if worker.generation != turn.state.generation {
        return;
    }
    let Some(rollout) = &turn.state.rollout else { return };
    let up_at = worker.acked_at.unwrap_or(turn.now.monotonic);
    let has_served = turn.now.monotonic.since(up_at) >= turn.state.config.respawn_interval;
    let is_recycled = status == ExitStatus::Code(0) && is_up && has_served && !rollout.is_canary();
    if is_recycled {
        return;
    }
    if let RolloutStage::Canary { check: Some(check) } = rollout.stage
        && check.worker == pid
    {
        canary::cancel_check(turn);
    }
    let age = turn.now.monotonic.since(worker.spawned_at);
    let what = match is_up {
        true => format!("{status} after its ACK"),
        false => status.to_string(),
    };
    let last_words = last_words(stderr_tail);
    record(turn, Failure { pid: Some(pid), slot: worker.slot, what, age, last_words });
}

/// A worker exited whose ACK had taken too long. It has been counted as failed already; its last
/// output, which may tell the cause, is added to that failure.
pub(super) fn overdue_worker_exited(
    turn: &mut Turn,
    pid: Pid,
    worker: &Worker,
    stderr_tail: &[u8],
) {
    let state = &mut *turn.state;
    let ended = state.last_upgrade.iter_mut().flat_map(|ended| &mut ended.failures);
    let current = state.rollout.iter_mut().flat_map(|rollout| &mut rollout.failures);
    let is_its = |failure: &&mut Failure| failure.pid == Some(pid) && failure.slot == worker.slot;
    // The newest, in case the pid has been reused.
    if let Some(failure) = ended.chain(current).filter(is_its).last() {
        failure.last_words = failure.last_words.take().or_else(|| last_words(stderr_tail));
    }
}

/// A worker of the current generation could not be started.
pub(super) fn start_failed(turn: &mut Turn, slot: Slot, why: &str) {
    if turn.state.rollout.is_some() {
        let what = format!("could not be started: {why}");
        let (age, last_words) = (std::time::Duration::ZERO, None);
        record(turn, Failure { pid: None, slot, what, age, last_words });
    }
}

/// Counts workers whose ACK has taken too long as failed, and stops them.
pub(super) fn fail_overdue_acks(turn: &mut Turn) {
    let now = turn.now.monotonic;
    let is_due = |worker: &Worker| ack_overdue_at(turn.state, worker).is_some_and(|due| due <= now);
    let overdue = turn.state.current_workers().filter(|(_, worker)| is_due(worker));
    let overdue: Vec<Pid> = overdue.map(|(pid, _)| pid).collect();
    let limit = turn.state.config.rollout.ack_timeout.unwrap_or_default().as_secs_f64();
    let signal = turn.state.config.stop_schedule().first();
    for pid in overdue {
        let Some(worker) = turn.state.workers.get_mut(&pid) else { continue };
        worker.missed_ack_deadline = true;
        let (slot, age) = (worker.slot, now.since(worker.spawned_at));
        let suspended = worker.suspension.current;
        announce(turn, &format!("Worker {pid} is not ACKed after {limit}s: sending {signal}"));
        stop::request(turn, &[pid]);
        backoff::count_early_death(turn, turn.state.generation);
        let what = match suspended {
            Some(Suspended { signal, .. }) => {
                format!("no ACK within {limit}s, suspended by SIG{signal}")
            }
            None => format!("no ACK within {limit}s"),
        };
        record(turn, Failure { pid: Some(pid), slot, what, age, last_words: None });
    }
}

/// When the ACK of a new worker becomes overdue; `None` outside a roll-out, and in timer mode
/// unless a signal suspends the worker, so that its timer does not run.
pub(super) fn ack_overdue_at(state: &State, worker: &Worker) -> Option<Monotonic> {
    let is_waited_for = state.rollout.is_some()
        && (state.config.ack_mode == AckMode::Manual || worker.suspension.current.is_some())
        && !worker.is_acked()
        && !worker.is_stopping();
    Some(worker.spawned_at + state.config.rollout.ack_timeout.filter(|_| is_waited_for)?)
}

fn record(turn: &mut Turn, failure: Failure) {
    let limit = turn.state.failures_max();
    let Some(rollout) = &mut turn.state.rollout else { return };
    rollout.failure_count = rollout.failure_count.saturating_add(1);
    let count = rollout.failure_count;
    if rollout.failures.len() < FAILURES_KEPT {
        rollout.failures.push(failure);
    }
    announce(turn, &format!("Failure {count} of this upgrade; it ends at {limit}"));
}

/// Why there are too many failures for the roll-out to go on; `None` while there are not.
pub(super) fn too_many(state: &State) -> Option<String> {
    let count = state.rollout.as_ref()?.failure_count;
    if count >= state.failures_max() {
        return Some(format!("{} failed", counted(size(count), "new worker")));
    }
    let deaths = state.early_death_count;
    state.has_given_up().then(|| format!("{deaths} consecutive deaths before an ACK (--retries)"))
}

/// Formats a failure for a log line.
pub(super) fn describe(failure: &Failure) -> String {
    let Failure { pid, slot, what, age, last_words: _ } = failure;
    match pid {
        Some(pid) => {
            // Rounded down to milliseconds, as in the JSON replies.
            let age = age.as_millis() as f64 / 1000.0;
            format!("worker {pid} (slot {}): {what}, {age:.3}s old", slot.0)
        }
        None => format!("slot {}: {what}", slot.0),
    }
}
