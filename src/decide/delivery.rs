//! Whether the signals that ask workers to stop were sent. One that could not be, as with a worker
//! of another user, does not count and is tried again.

use std::time::Duration;

use crate::decide::action::Action;
use crate::decide::disposition;
use crate::decide::ending;
use crate::decide::event::Inspection;
use crate::decide::turn::Turn;
use crate::state::{Delivery, Monotonic, Pid, Signal, State, StopSchedule, Worker};

/// How long after a failure the next attempt follows. Permission rarely comes back by itself, but
/// one cheap call a second finds out.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How long a stopping master waits after the last step of a schedule for workers that it cannot
/// signal, and for what workers have left. It must end some time: a service manager waits for it.
const PATIENCE: Duration = Duration::from_secs(10);

/// A signal was sent.
pub(super) fn sent(turn: &mut Turn, pid: Pid, signal: Signal, inspection: Inspection) {
    let disposition = inspection.disposition;
    disposition::remember(turn, pid, signal, inspection);
    let Some(worker) = turn.state.stoppable_mut(pid) else { return };
    let Some(stop_signal) = worker.undelivered(signal) else { return };
    let was_failing = stop_signal.failure().is_some();
    stop_signal.delivery = Delivery::Sent;
    stop_signal.disposition = disposition;
    worker.signaled.insert(signal);
    if was_failing {
        turn.info(format!("{signal} has now been sent to worker {pid}"));
    }
    ending::finish_when_ready(turn);
}

/// A signal could not be sent.
pub(super) fn failed(turn: &mut Turn, pid: Pid, signal: Signal, why: &str) {
    let now = turn.now.monotonic;
    let worker = turn.state.stoppable_mut(pid);
    let Some((worker, since)) = worker.and_then(|worker| {
        let since = match worker.undelivered(signal)?.delivery {
            Delivery::Failed { since, .. } => Some(since),
            Delivery::Ordered | Delivery::Sent => None,
        };
        Some((worker, since))
    }) else {
        return turn.error(format!("Cannot send {signal} to worker {pid}: {why}"));
    };
    worker.signaled.remove(&signal);
    if let Some(stop_signal) = &mut worker.stop_signal {
        let since = since.unwrap_or(now);
        stop_signal.delivery = Delivery::Failed { since, tried_at: now, why: why.to_owned() };
    }
    if since.is_none() {
        let then = "it does not count as asked to stop, and this is tried again every second";
        turn.error(format!("Cannot send {signal} to worker {pid}: {why}; {then}"));
    }
    ending::finish_when_ready(turn);
}

/// Tries again to send what could not be sent.
pub(super) fn retry(turn: &mut Turn) {
    let now = turn.now.monotonic;
    for (pid, worker) in turn.state.stoppables_mut() {
        let due = retry_at(worker).is_some_and(|at| at <= now);
        let Some(stop_signal) = worker.stop_signal.as_mut().filter(|_| due) else { continue };
        if let Delivery::Failed { tried_at, .. } = &mut stop_signal.delivery {
            *tried_at = now;
        }
        turn.actions.push(Action::Signal { pid, signal: stop_signal.signal });
    }
}

/// When the next attempt is due.
pub(super) fn deadline(state: &State) -> Option<Monotonic> {
    state.stoppables().filter_map(|(_, worker)| retry_at(worker)).min()
}

fn retry_at(worker: &Worker) -> Option<Monotonic> {
    match worker.stop_signal.as_ref()?.delivery {
        Delivery::Failed { tried_at, .. } => Some(tried_at + RETRY_AFTER),
        Delivery::Ordered | Delivery::Sent => None,
    }
}

/// When a stopping master no longer waits for a worker: none of the signals that its schedule has
/// left can be sent. `None` while there is a chance.
pub(super) fn given_up_at(worker: &Worker, schedule: &StopSchedule) -> Option<Monotonic> {
    match worker.stop_signal.as_ref()?.delivery {
        Delivery::Failed { since, .. } => Some(over_at(worker, schedule)?.max(since + PATIENCE)),
        Delivery::Ordered | Delivery::Sent => None,
    }
}

/// When the last step of a schedule has been going on for long enough; `None` before the last step.
/// Nothing follows KILL, whoever has sent that.
pub(super) fn over_at(worker: &Worker, schedule: &StopSchedule) -> Option<Monotonic> {
    match worker.stop_progress {
        None => Some(Monotonic(0)),
        Some(progress) => {
            let is_killed = worker.signaled.contains(&Signal::Kill);
            let is_last = is_killed || !schedule.has_next(progress.step);
            is_last.then_some(progress.since + PATIENCE)
        }
    }
}
