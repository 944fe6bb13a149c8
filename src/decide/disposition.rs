//! What workers do with the signal that asks them to stop: one that has no handler for it is killed
//! instead of draining, and the operator is told before that happens.

use crate::decide::action::Action;
use crate::decide::event::Inspection;
use crate::decide::turn::Turn;
use crate::decide::waiters::announce_error;
use crate::state::{Pid, Signal, Worker};
use crate::status;

/// Looks up what a worker does with the first signal of the schedule. KILL has no handler, and
/// whoever asks for it knows.
pub(super) fn inspect(turn: &mut Turn, pid: Pid) {
    let signal = turn.state.config.stop_schedule().first();
    if signal != Signal::Kill {
        turn.actions.push(Action::Inspect { pid, signal });
    }
}

/// Looks it up for all workers that are up and stay.
pub(super) fn inspect_all(turn: &mut Turn) {
    inspect_those(turn, |worker| worker.is_acked() && !worker.is_stopping());
}

/// Looks it up for workers that were taken over without it.
pub(super) fn inspect_unknown(turn: &mut Turn) {
    inspect_those(turn, |worker| {
        worker.is_acked() && !worker.is_stopping() && worker.disposition.is_none()
    });
}

/// Looks again at the workers that had no handler: some set it up after their ACK.
pub(super) fn inspect_unhandled(turn: &mut Turn) {
    inspect_those(turn, |worker| {
        !worker.is_stopping() && worker.disposition.is_some_and(|found| !found.is_handled())
    });
}

fn inspect_those(turn: &mut Turn, is_meant: impl Fn(&Worker) -> bool) {
    let meant = turn.state.workers.iter().filter(|(_, worker)| is_meant(worker));
    let meant: Vec<Pid> = meant.map(|(pid, _)| *pid).collect();
    for pid in meant {
        inspect(turn, pid);
    }
}

/// It was looked up. Tells once a generation of a worker that has no handler.
pub(super) fn inspected(turn: &mut Turn, pid: Pid, signal: Signal, inspection: Inspection) {
    remember(turn, pid, signal, inspection);
    let Some(worker) = turn.state.workers.get(&pid) else { return };
    let generation = Some(worker.generation);
    let unhandled = worker.disposition.filter(|found| !found.is_handled());
    if let Some(unhandled) = unhandled
        && turn.state.warned_generation != generation
    {
        let program = status::program(worker.program.as_deref());
        let why = status::no_handler(signal, unhandled);
        turn.state.warned_generation = generation;
        announce_error(turn, &format!("Worker {pid}{program} {why}"));
    }
}

/// Notes what was found.
pub(super) fn remember(turn: &mut Turn, pid: Pid, signal: Signal, inspection: Inspection) {
    let is_first = signal == turn.state.config.stop_schedule().first();
    let Some(worker) = turn.state.workers.get_mut(&pid) else { return };
    worker.program = inspection.program.or(worker.program.take());
    if is_first {
        worker.disposition = inspection.disposition;
    }
}
