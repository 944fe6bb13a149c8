//! The life of a worker: it starts, is ACKed, exits, or is killed for not stopping in time
//! (behaviour.md sections 3 and 4).

use std::path::PathBuf;

use crate::decide::event::Left;
use crate::decide::turn::Turn;
use crate::decide::waiters::announce;
use crate::decide::{backoff, disposition, failures, killed, leftovers, rollout, stop, waiters};
use crate::state::{AckMode, Connection, ConnectionId, ExitStatus, Now, Pid, Slot, Worker};

/// A worker has been started.
pub(super) fn spawned(
    turn: &mut Turn,
    slot: Slot,
    pid: Pid,
    connection: Option<ConnectionId>,
    directory: Option<PathBuf>,
) {
    let generation = turn.state.ordered.remove(&slot).unwrap_or(turn.state.generation);
    let mut worker = Worker::new(slot, generation, turn.now);
    worker.connection = connection;
    worker.directory.clone_from(&directory);
    turn.state.workers.insert(pid, worker);
    // The number of a group is used again only once nobody is in it.
    turn.state.leftovers.remove(&pid);
    if let Some(connection) = connection {
        turn.state.connections.insert(connection, Connection { given_to: Some(pid) });
    }
    turn.state.last_spawn_at = Some(turn.now.monotonic);
    turn.state.last_spawned_on = Some(turn.now.realtime);
    announce(turn, &format!("===> Launched {pid} (slot {})", slot.0));
    if let (Some(expected), Some(directory)) = (turn.state.directory_of(generation), directory)
        && expected != directory
    {
        let stray = format!(
            "Worker {pid} of generation {} runs in {}: {} is gone",
            generation.0,
            directory.display(),
            expected.display()
        );
        turn.error(stray);
    }
    if turn.state.stopping.is_some() {
        stop::request(turn, &[pid]);
    }
}

/// A worker could not be started: treated as an early death. The rest of a first start is subject
/// to the back-off too, since it would fail the same way.
pub(super) fn spawn_failed(turn: &mut Turn, slot: Slot, why: &str) {
    let generation = turn.state.ordered.remove(&slot);
    turn.state.cold_start_count = 0;
    turn.state.last_spawn_at = Some(turn.now.monotonic);
    waiters::announce_error(turn, &format!("Could not start a worker (slot {}): {why}", slot.0));
    let Some(generation) = generation else { return };
    if turn.state.is_startable(generation) {
        backoff::count_early_death(turn, generation);
    }
    if generation == turn.state.generation {
        failures::start_failed(turn, slot, why);
    }
}

/// A child was reaped.
pub(super) fn exited(
    turn: &mut Turn,
    pid: Pid,
    status: ExitStatus,
    stderr_tail: &[u8],
    left: Option<Left>,
) {
    let Some(worker) = turn.state.workers.remove(&pid) else {
        leftovers::look_soon(turn);
        if rollout::check_exited(turn, pid, status) {
            return;
        }
        turn.debug(format!("Reaped process {pid}, which is no worker: {status}"));
        return;
    };
    // Another process may still hold the other end, and the pid may be reused by another worker.
    if let Some(given) = worker.connection.and_then(|id| turn.state.connections.get_mut(&id)) {
        given.given_to = None;
    }
    let up = worker.is_acked() || is_ack_due(&worker, turn.state.config.ack_mode, turn.now);
    let before_ack = if up { "" } else { " before it was ACKed" };
    let age = turn.now.monotonic.since(worker.spawned_at).as_secs_f64();
    let message = format!(
        "===> Exited worker {pid} (slot {}){before_ack}: {status} after {age:.3}s",
        worker.slot.0
    );
    announce(turn, &message);
    let is_counted = killed::count(turn, pid, &worker, status);
    if let Some(left) = left {
        // A worker that was killed counts once, whatever becomes of what it has left.
        let acked_at = worker.acked_at.filter(|_| !is_counted);
        leftovers::found(turn, pid, Worker { acked_at, ..worker.clone() }, left);
    }
    if worker.missed_ack_deadline {
        failures::overdue_worker_exited(turn, pid, &worker, stderr_tail);
    }
    if worker.is_stopping() || turn.state.stopping.is_some() {
        return;
    }
    let deaths = turn.state.slot_deaths.entry(worker.slot).or_default();
    *deaths = deaths.saturating_add(1);
    if !up && turn.state.is_startable(worker.generation) {
        backoff::count_early_death(turn, worker.generation);
    }
    failures::worker_exited(turn, pid, &worker, up, status, stderr_tail);
}

/// Marks a worker as up and ends a streak of early deaths.
pub(super) fn acknowledge(turn: &mut Turn, pid: Pid) {
    let at = turn.now.monotonic;
    let Some(worker) = turn.state.workers.get_mut(&pid) else { return };
    worker.acked_at = Some(at);
    let streak = std::mem::take(&mut turn.state.early_death_count);
    let ending = match streak {
        0 => String::new(),
        count => format!(", ending a streak of {count} deaths before an ACK"),
    };
    let mode = match turn.state.config.ack_mode {
        AckMode::Manual => "manual",
        AckMode::Timer(_) => "timer",
    };
    let (count, target) = (turn.state.acked_count(), turn.state.config.target);
    announce(turn, &format!("Up to {count} / {target} {mode} ACKs{ending}"));
    if !turn.state.workers[&pid].is_stopping() {
        disposition::inspect(turn, pid);
    }
}

pub(super) fn acknowledge_due(turn: &mut Turn) {
    let mode = turn.state.config.ack_mode;
    if mode == AckMode::Manual {
        return;
    }
    let due = |worker: &Worker| is_ack_due(worker, mode, turn.now);
    let pids: Vec<Pid> =
        turn.state.workers.iter().filter(|(_, w)| due(w)).map(|(pid, _)| *pid).collect();
    for pid in pids {
        acknowledge(turn, pid);
    }
}

fn is_ack_due(worker: &Worker, mode: AckMode, now: Now) -> bool {
    worker.ack_due_at(mode).is_some_and(|due| due <= now.monotonic)
}
