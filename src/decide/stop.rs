//! Asking workers to stop: step by step along the schedule of `--stop`.

use crate::decide::action::Action;
use crate::decide::turn::Turn;
use crate::decide::{delivery, disposition};
use crate::state::{
    Config, Monotonic, Pid, Signal, State, StopProgress, StopSchedule, StopSignal, Worker,
};
use crate::status;

/// Asks workers to stop by the schedule: from now on they count as stopping.
pub(super) fn request(turn: &mut Turn, pids: &[Pid]) {
    let first = turn.state.config.stop_schedule().first();
    let since = turn.now.monotonic;
    for pid in pids {
        if let Some(worker) = turn.state.stoppable_mut(*pid) {
            worker.stop_progress.get_or_insert(StopProgress { step: 0, since });
            send(turn, *pid, first);
        }
    }
}

/// Sends a worker a signal that asks it to stop.
pub(super) fn send(turn: &mut Turn, pid: Pid, signal: Signal) {
    let now = turn.now;
    let is_worker = turn.state.workers.contains_key(&pid);
    let Some(worker) = turn.state.stoppable_mut(pid) else { return };
    let last = worker.stop_signal.as_ref().filter(|last| last.signal == signal);
    // What cannot be sent has been failing since its first attempt.
    let is_failing = last.is_some_and(|last| last.failure().is_some());
    let is_repeated = !is_failing && !worker.signaled.insert(signal) && is_worker;
    worker.stop_requested_at.get_or_insert(now.monotonic);
    worker.last_signaled_on = Some(now.realtime);
    if !is_failing {
        worker.stop_signal = Some(StopSignal::ordered(signal));
    }
    if is_repeated {
        turn.info(format!("Worker {pid} was sent {signal} before and is still there"));
    }
    turn.actions.push(Action::Signal { pid, signal });
}

/// Sends the next signal to workers that have not stopped in time.
pub(super) fn advance(turn: &mut Turn) {
    if !turn.state.stoppables().any(|(_, worker)| worker.is_stopping()) {
        return;
    }
    let now = turn.now.monotonic;
    let schedule = turn.state.config.stop_schedule();
    let is_due = |worker: &Worker| worker.next_stop_at(&schedule).is_some_and(|due| due <= now);
    let due = turn.state.stoppables().filter(|(_, worker)| is_due(worker));
    let due: Vec<Pid> = due.map(|(pid, _)| pid).collect();
    for pid in due {
        let Some(worker) = turn.state.stoppable(pid) else { continue };
        let whom = match turn.state.workers.contains_key(&pid) {
            true => format!("Worker {pid}"),
            false => format!("What worker {pid} has left"),
        };
        let since = worker.stop_requested_at.unwrap_or(now);
        let after = status::span(status::milliseconds(now.since(since)));
        let is_late = worker.late_kill_at().is_some_and(|at| at <= now);
        let signal = match is_late {
            true => Signal::Kill,
            false => {
                schedule.signal(worker.stop_progress.map_or(0, |it| it.step.saturating_add(1)))
            }
        };
        turn.info(format!(
            "{whom} is still there {after} after it was asked to stop: sending {signal}"
        ));
        match is_late {
            true => send(turn, pid, signal),
            false => drop(next_step(turn, pid, &schedule)),
        }
    }
    // What has been followed by the next step is not sent any more.
    delivery::retry(turn);
}

/// When a worker has not stopped in time.
pub(super) fn deadline(state: &State) -> Option<Monotonic> {
    let mut stopping = state.stoppables().filter(|(_, worker)| worker.is_stopping()).peekable();
    stopping.peek()?;
    let schedule = state.config.stop_schedule();
    let next = stopping.filter_map(|(_, worker)| worker.next_stop_at(&schedule));
    next.chain(delivery::deadline(state)).min()
}

/// Moves a worker to its next step. Returns the signal that it was sent.
pub(super) fn next_step(turn: &mut Turn, pid: Pid, schedule: &StopSchedule) -> Signal {
    let since = turn.now.monotonic;
    let Some(worker) = turn.state.stoppable_mut(pid) else { return schedule.first() };
    let step = worker.stop_progress.map_or(0, |progress| progress.step.saturating_add(1));
    worker.stop_progress = Some(StopProgress { step, since });
    let signal = schedule.signal(step);
    send(turn, pid, signal);
    signal
}

/// Another schedule applies: stopping workers go on with what it has that they were not sent.
pub(super) fn reschedule(turn: &mut Turn, before: &Config) {
    if turn.state.config.stop == before.stop {
        return;
    }
    let schedule = turn.state.config.stop_schedule();
    disposition::forget(turn, before);
    let all: Vec<Pid> = turn.state.stoppables().map(|(pid, _)| pid).collect();
    for pid in all {
        let Some(worker) = turn.state.stoppable_mut(pid) else { continue };
        let Some(progress) = &mut worker.stop_progress else { continue };
        match schedule.resumed_at(|signal| worker.signaled.contains(&signal)) {
            Some(step) => {
                progress.step = step;
                let due = schedule.signal(step);
                worker.stop_signal.take_if(|it| it.failure().is_some() && it.signal != due);
            }
            None => {
                worker.stop_progress = None;
                next_step(turn, pid, &schedule);
            }
        }
    }
}
