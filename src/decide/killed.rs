//! Workers that were up and were killed by what asked them to stop, instead of draining.

use crate::decide::turn::Turn;
use crate::decide::waiters::announce_error;
use crate::state::{Disposition, ExitStatus, Killed, Pid, Signal, State, Unhandled, Worker};
use crate::status;

/// How a worker was killed.
enum Cause {
    /// By a signal that it has no handler for.
    Unhandled(Signal),
    /// By KILL at the end of its schedule.
    Overdue,
}

/// A worker was reaped. If it was killed instead of draining, that is told and counted.
pub(super) fn count(turn: &mut Turn, pid: Pid, worker: &Worker, status: ExitStatus) {
    let Some(cause) = cause(turn.state, worker, status) else { return };
    let program = status::program(worker.program.as_deref());
    let why = match cause {
        Cause::Unhandled(signal) => format!("has no handler for {signal}"),
        Cause::Overdue => format!("was still there at the end of {}", schedule(turn.state)),
    };
    announce_error(
        turn,
        &format!("Worker {pid}{program} was killed instead of draining: it {why}"),
    );
    let state = &mut *turn.state;
    for waiter in &mut state.waiters {
        waiter.killed_count = waiter.killed_count.saturating_add(1);
    }
    let is_old = worker.generation != state.generation;
    let killed = match (&mut state.rollout, &mut state.ending_upgrade) {
        (Some(rollout), _) => Some(&mut rollout.killed),
        (None, Some(ending)) => Some(&mut ending.ended.killed),
        (None, None) => None,
    };
    match killed {
        _ if !is_old => {}
        Some(killed) => add(killed, cause, worker.program.clone()),
        None => {
            if let Some(ended) = &mut state.last_upgrade {
                ended.killed_later_count = ended.killed_later_count.saturating_add(1);
            }
        }
    }
}

fn add(killed: &mut Killed, cause: Cause, program: Option<String>) {
    match cause {
        Cause::Unhandled(signal) => {
            killed.unhandled_count = killed.unhandled_count.saturating_add(1);
            killed.first_unhandled.get_or_insert(Unhandled { program, signal });
        }
        Cause::Overdue => killed.overdue_count = killed.overdue_count.saturating_add(1),
    }
}

/// How a worker was killed, if it was up and was killed by the schedule. A worker that has a
/// handler and still ends by the signal has drained before, as uvicorn does.
fn cause(state: &State, worker: &Worker, status: ExitStatus) -> Option<Cause> {
    let ExitStatus::Killed { signal: Some(signal), .. } = status else { return None };
    let progress = worker.stop_progress.filter(|_| worker.signaled.contains(&signal))?;
    if !worker.is_acked() {
        return None;
    }
    let schedule = state.config.stop_schedule();
    // `die KILL` is what somebody asked for.
    let is_overdue = schedule.signal(progress.step) == Signal::Kill;
    let sent = worker.stop_signal.as_ref().filter(|sent| sent.signal == signal);
    match (signal, sent) {
        (Signal::Kill, _) => {
            (is_overdue && schedule.first() != Signal::Kill).then_some(Cause::Overdue)
        }
        (_, Some(sent)) if sent.disposition == Some(Disposition::Caught) => None,
        (_, None) if worker.disposition == Some(Disposition::Caught) => None,
        _ => Some(Cause::Unhandled(signal)),
    }
}

fn schedule(state: &State) -> String {
    let schedule = state.config.stop_schedule();
    match state.config.stop {
        Some(_) => format!("--stop {schedule}"),
        None => schedule.to_string(),
    }
}
