//! Workers that a signal has suspended: they are no capacity and are not replaced; one that is to
//! stop is sent SIGCONT, since it could not stop otherwise.

use std::time::Duration;

use crate::decide::action::Action;
use crate::decide::turn::Turn;
use crate::decide::waiters::{announce, announce_error};
use crate::state::{Monotonic, Pid, Signal, State, StopSchedule, Worker};
use crate::status;

/// How long to wait before another SIGCONT to a worker that is suspended again: a background job
/// that reads from a terminal is suspended as soon as it runs.
const CONTINUE_PAUSE: Duration = Duration::from_secs(1);

/// A signal suspends a worker.
pub(super) fn begun(turn: &mut Turn, pid: Pid, signal: Signal) {
    let Some(worker) = turn.state.workers.get_mut(&pid) else { return };
    worker.suspension.begin(signal, turn.now);
    let message = format!("Worker {pid} (slot {}) is suspended by SIG{signal}", worker.slot.0);
    match worker.is_stopping() {
        true => announce(turn, &message),
        false => announce_error(turn, &message),
    }
}

/// A worker runs again.
pub(super) fn ended(turn: &mut Turn, pid: Pid) {
    let Some(worker) = turn.state.workers.get_mut(&pid) else { return };
    if let Some(lasted) = worker.suspension.end(turn.now) {
        let slot = worker.slot.0;
        let lasted = status::span(status::milliseconds(lasted));
        announce(turn, &format!("Worker {pid} (slot {slot}) runs again after {lasted}"));
    }
}

/// Lets suspended workers run that are to stop.
pub(super) fn let_stop(turn: &mut Turn) {
    if turn.state.workers.values().all(|worker| worker.suspension.current.is_none()) {
        return;
    }
    let now = turn.now.monotonic;
    let schedule = turn.state.config.stop_schedule();
    for (pid, worker) in &mut turn.state.workers {
        if continue_at(worker, &schedule).is_some_and(|at| at <= now) {
            worker.suspension.continued_at = Some(now);
            turn.actions.push(Action::Signal { pid: *pid, signal: Signal::Cont });
        }
    }
}

/// When a suspended worker is let run to stop.
pub(super) fn deadline(state: &State) -> Option<Monotonic> {
    let mut suspended = state.workers.values().filter(|w| w.suspension.current.is_some());
    let first = suspended.next()?;
    let schedule = state.config.stop_schedule();
    let all = std::iter::once(first).chain(suspended);
    all.filter_map(|worker| continue_at(worker, &schedule)).min()
}

/// When a worker is sent SIGCONT; `None` if it is not suspended or may stay so: it is not to stop,
/// or a signal that suspends is the very step of the schedule, which SIGCONT would undo.
fn continue_at(worker: &Worker, schedule: &StopSchedule) -> Option<Monotonic> {
    let suspended = worker.suspension.current.filter(|_| worker.is_stopping())?;
    let is_step = match worker.stop_progress {
        Some(progress) => schedule.signal(progress.step).stops_a_program(),
        None => worker.signaled.iter().all(|signal| signal.stops_a_program()),
    };
    let again_at = worker.suspension.continued_at.map(|at| at + CONTINUE_PAUSE);
    (!is_step).then_some(again_at.unwrap_or(suspended.since))
}
