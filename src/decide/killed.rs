//! Workers that were up and were killed by what asked them to stop, instead of draining.

use crate::decide::turn::Turn;
use crate::decide::waiters::announce_error;
use crate::state::{
    Disposition, ExitStatus, Killed, Leftover, Pid, Signal, State, Unhandled, WaitsFor, Worker,
};
use crate::status;

/// How a worker was killed.
enum Cause {
    /// By a signal that it has no handler for.
    Unhandled(Signal),
    /// By KILL at the end of its schedule.
    Overdue,
}

/// A worker was reaped. If it was killed instead of draining, that is told and counted. Returns
/// whether it was.
pub(super) fn count(turn: &mut Turn, pid: Pid, worker: &Worker, status: ExitStatus) -> bool {
    let Some(cause) = cause(turn.state, worker, status) else { return false };
    let program = status::program(worker.program.as_deref());
    let is_news = turn.state.warned_generation != Some(worker.generation);
    let why = match cause {
        Cause::Unhandled(signal) if is_news => {
            turn.state.warned_generation = Some(worker.generation);
            format!("has no handler for {signal}; {}", status::cure(&turn.state.config))
        }
        Cause::Unhandled(signal) => format!("has no handler for {signal}"),
        Cause::Overdue => why_overdue(turn.state),
    };
    announce_error(
        turn,
        &format!("Worker {pid}{program} was killed instead of draining: it {why}"),
    );
    record(turn.state, worker, cause, worker.program.clone());
    true
}

/// What a worker has left is gone. If that was killed by the end of the schedule, it is told and
/// counted as the worker would be.
pub(super) fn count_leftover(turn: &mut Turn, group: Pid, leftover: &Leftover) {
    let worker = &leftover.worker;
    let is_killed = worker.signaled.contains(&Signal::Kill) && worker.stop_progress.is_some();
    if !is_killed || !worker.is_acked() || turn.state.config.stop_schedule().first() == Signal::Kill
    {
        return;
    }
    let what = status::leftover(leftover);
    let why = why_overdue(turn.state);
    let message = format!("What worker {group} had left, {what}, was killed: it {why}");
    announce_error(turn, &message);
    record(turn.state, worker, Cause::Overdue, None);
}

fn record(state: &mut State, worker: &Worker, cause: Cause, program: Option<String>) {
    let is_old = worker.generation != state.generation;
    for waiter in &mut state.waiters {
        let is_meant = match waiter.waits_for {
            WaitsFor::Exit => true,
            WaitsFor::Settled => !is_old,
            WaitsFor::Drained { before } => worker.generation < before,
            WaitsFor::Reexec | WaitsFor::Rollout | WaitsFor::Upgrade => is_old,
        };
        waiter.killed_count = waiter.killed_count.saturating_add(u32::from(is_meant));
    }
    if !is_old {
        return;
    }
    match (&mut state.rollout, &mut state.ending_upgrade, &mut state.last_upgrade) {
        (Some(rollout), ..) => add(&mut rollout.killed, cause, program),
        (None, Some(ending), _) => add(&mut ending.ended.killed, cause, program),
        (None, None, Some(ended)) => {
            ended.killed_later_count = ended.killed_later_count.saturating_add(1);
        }
        (None, None, None) => {}
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
    let schedule = state.config.stop_schedule();
    let is_step = worker.stop_progress.is_some_and(|at| schedule.has_come_to(signal, at.step));
    if !worker.is_acked() || !is_step || !worker.signaled.contains(&signal) {
        return None;
    }
    let first = schedule.first();
    let sent = worker.stop_signal.as_ref().filter(|sent| sent.signal == signal);
    match (signal, sent) {
        (Signal::Kill, _) => (first != Signal::Kill).then_some(Cause::Overdue),
        (_, Some(sent)) if sent.disposition == Some(Disposition::Caught) => None,
        (_, None) if worker.disposition == Some(Disposition::Caught) => None,
        _ => Some(Cause::Unhandled(signal)),
    }
}

/// `was sent KILL, the last step of --stop TERM/30/KILL, before it had drained; ...`.
fn why_overdue(state: &State) -> String {
    let schedule = state.config.stop_schedule();
    match state.config.stop {
        Some(_) => {
            format!("was sent KILL, the last step of --stop {schedule}, before it had drained")
        }
        None => {
            let cure = status::cure(&state.config);
            format!("was sent KILL, the last step of {schedule}, before it had drained; {cure}")
        }
    }
}
