//! What workers do with the signal that asks them to stop: one that has no handler for it is killed
//! instead of draining. `status` warns of that, and it is told when it happens.

use crate::decide::action::Action;
use crate::decide::event::Inspection;
use crate::decide::turn::Turn;
use crate::state::{Config, Pid, Signal, Worker};

/// Looks up what a worker does with the first signal of the schedule. KILL has no handler, and
/// whoever asks for it knows.
pub(super) fn inspect(turn: &mut Turn, pid: Pid) {
    let signal = turn.state.config.stop_schedule().first();
    if signal != Signal::Kill {
        turn.actions.push(Action::Inspect { pid, signal });
    }
}

/// Another schedule applies: what is known of the first signal of the one before says nothing of
/// the new one's.
pub(super) fn forget(turn: &mut Turn, before: &Config) {
    if turn.state.config.stop_schedule().first() != before.stop_schedule().first() {
        turn.state.workers.values_mut().for_each(|worker| worker.disposition = None);
        turn.state.warned_generation = None;
        inspect_unknown(turn);
    }
}

/// Looks it up for workers that were taken over without it.
pub(super) fn inspect_unknown(turn: &mut Turn) {
    inspect_those(turn, |worker| {
        worker.is_acked() && !worker.is_stopping() && worker.disposition.is_none()
    });
}

fn inspect_those(turn: &mut Turn, is_meant: impl Fn(&Worker) -> bool) {
    let meant = turn.state.workers.iter().filter(|(_, worker)| is_meant(worker));
    let meant: Vec<Pid> = meant.map(|(pid, _)| *pid).collect();
    for pid in meant {
        inspect(turn, pid);
    }
}

/// It was looked up.
pub(super) fn remember(turn: &mut Turn, pid: Pid, signal: Signal, inspection: Inspection) {
    let is_first = signal == turn.state.config.stop_schedule().first();
    let Some(worker) = turn.state.workers.get_mut(&pid) else { return };
    worker.program = inspection.program.or(worker.program.take());
    if is_first {
        worker.disposition = inspection.disposition;
    }
}
