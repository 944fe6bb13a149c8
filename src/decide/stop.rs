//! Asking workers to stop: by the schedule of `--stop`, or with a signal that a client chose.

use crate::decide::action::Action;
use crate::decide::turn::{Turn, counted, list};
use crate::state::{
    Config, Monotonic, Pid, Signal, State, StopProgress, StopSchedule, Stopping, Worker,
};
use crate::status;

/// How many workers a reply names one by one; more are counted.
const NAMED_MAX: usize = 8;

/// Stops the master by the schedule: starts no more workers, asks all of them to stop, and exits
/// once they are gone. Returns what was done, in words.
pub(super) fn all(turn: &mut Turn) -> String {
    begin(turn);
    let workers = turn.all_workers();
    let signal = turn.state.config.stop_schedule().first();
    // The original repeats its signal, and without `--stop` so does this.
    let is_repeated = turn.state.config.stop.is_none();
    let is_on_schedule = |worker: &Worker| worker.stop_progress.is_some() && !is_repeated;
    let (waiting, asked): (Vec<Pid>, Vec<Pid>) =
        workers.into_iter().partition(|pid| is_on_schedule(&turn.state.workers[pid]));
    turn.info(format!("Sending {signal} to {}", list(&asked)));
    request(turn, &asked);
    match waiting.is_empty() {
        true => sent_message(signal, &asked),
        false => format!("{}; {}", sent_message(signal, &asked), still_stopping(turn, &waiting)),
    }
}

/// Stops the master with a signal in place of the schedule's. May be repeated with another one.
pub(super) fn all_with(turn: &mut Turn, signal: Signal) -> String {
    begin(turn);
    let workers = turn.all_workers();
    turn.info(format!("Sending {signal} to {}", list(&workers)));
    let since = turn.now.monotonic;
    let has_schedule = turn.state.config.stop.is_some();
    for pid in &workers {
        let worker = turn.state.workers.get_mut(pid).filter(|_| !has_schedule);
        if let Some(worker) = worker {
            // `-t` runs from the first signal, whichever it is.
            worker.stop_progress.get_or_insert(StopProgress { step: 0, since });
        }
        send(turn, *pid, signal);
    }
    sent_message(signal, &workers)
}

/// Stops the master and moves every worker to the next step of the schedule, without waiting for
/// its time.
pub(super) fn all_to_next(turn: &mut Turn) -> String {
    begin(turn);
    let schedule = turn.state.config.stop_schedule();
    let mut moved = Vec::new();
    for pid in turn.all_workers() {
        let progress = turn.state.workers[&pid].stop_progress;
        if progress.is_none_or(|progress| schedule.has_next(progress.step)) {
            moved.push(format!("{} to {pid}", next_step(turn, pid, &schedule)));
        }
    }
    let staying = turn.state.workers.len() - moved.len();
    if moved.is_empty() {
        return format!("{schedule} has no next step for {}", counted(staying, "worker"));
    }
    let count = moved.len();
    moved.truncate(NAMED_MAX);
    let more = if count > NAMED_MAX { format!(", …; {count} workers") } else { String::new() };
    let message = format!("Next step: {}{more}", moved.join(", "));
    turn.info(message.clone());
    message
}

fn begin(turn: &mut Turn) {
    turn.state.stopping.get_or_insert(Stopping { exit_code: 0 });
    crate::decide::upgrade::abandon(turn);
}

/// Asks workers to stop by the schedule: from now on they count as stopping.
pub(super) fn request(turn: &mut Turn, pids: &[Pid]) {
    let first = turn.state.config.stop_schedule().first();
    let since = turn.now.monotonic;
    for pid in pids {
        if let Some(worker) = turn.state.workers.get_mut(pid) {
            worker.stop_progress.get_or_insert(StopProgress { step: 0, since });
            send(turn, *pid, first);
        }
    }
}

fn send(turn: &mut Turn, pid: Pid, signal: Signal) {
    let Some(worker) = turn.state.workers.get_mut(&pid) else { return };
    let is_repeated = !worker.signaled.insert(signal);
    worker.stop_requested_at.get_or_insert(turn.now.monotonic);
    worker.last_signaled_on = Some(turn.now.realtime);
    if is_repeated {
        turn.info(format!("Worker {pid} was sent {signal} before and is still there"));
    }
    turn.actions.push(Action::Signal { pid, signal });
}

/// Sends the next signal to workers that have not stopped in time.
pub(super) fn advance(turn: &mut Turn) {
    if !turn.state.workers.values().any(Worker::is_stopping) {
        return;
    }
    let now = turn.now.monotonic;
    let schedule = turn.state.config.stop_schedule();
    let is_due = |worker: &Worker| worker.next_stop_at(&schedule).is_some_and(|due| due <= now);
    let due = turn.state.workers.iter().filter(|(_, worker)| is_due(worker));
    let due: Vec<Pid> = due.map(|(pid, _)| *pid).collect();
    for pid in due {
        let worker = &turn.state.workers[&pid];
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
            "Worker {pid} is still there {after} after it was asked to stop: sending {signal}"
        ));
        match is_late {
            true => send(turn, pid, signal),
            false => drop(next_step(turn, pid, &schedule)),
        }
    }
}

/// When a worker has not stopped in time.
pub(super) fn deadline(state: &State) -> Option<Monotonic> {
    let mut stopping = state.workers.values().filter(|worker| worker.is_stopping()).peekable();
    stopping.peek()?;
    let schedule = state.config.stop_schedule();
    stopping.filter_map(|worker| worker.next_stop_at(&schedule)).min()
}

/// Moves a worker to its next step. Returns the signal that it was sent.
fn next_step(turn: &mut Turn, pid: Pid, schedule: &StopSchedule) -> Signal {
    let since = turn.now.monotonic;
    let Some(worker) = turn.state.workers.get_mut(&pid) else { return schedule.first() };
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
    for pid in turn.all_workers() {
        let Some(worker) = turn.state.workers.get_mut(&pid) else { continue };
        let Some(progress) = &mut worker.stop_progress else { continue };
        match schedule.resumed_at(|signal| worker.signaled.contains(&signal)) {
            Some(step) => progress.step = step,
            None => {
                worker.stop_progress = None;
                next_step(turn, pid, &schedule);
            }
        }
    }
}

/// `2 workers are stopping already: 11 (KILL in 24s), 12 (KILL in 24s)`.
fn still_stopping(turn: &Turn, pids: &[Pid]) -> String {
    let schedule = turn.state.config.stop_schedule();
    let named = pids.iter().take(NAMED_MAX).map(|pid| {
        let worker = &turn.state.workers[pid];
        let step = worker.stop_progress.map_or(0, |progress| progress.step);
        match worker.next_stop_at(&schedule) {
            None => format!("{pid} (sent {}, the last step)", schedule.signal(step)),
            Some(due) => {
                let left = status::span(status::milliseconds(due.since(turn.now.monotonic)));
                format!("{pid} ({} in {left})", schedule.signal(step.saturating_add(1)))
            }
        }
    });
    let named: Vec<String> = named.collect();
    let more = if pids.len() > NAMED_MAX { ", …" } else { "" };
    let verb = if pids.len() == 1 { "is" } else { "are" };
    let count = counted(pids.len(), "worker");
    format!("{count} {verb} stopping already: {}{more}", named.join(", "))
}

/// The original's message about signals that were sent.
pub(super) fn sent_message(signal: Signal, workers: &[Pid]) -> String {
    let count = workers.len();
    format!("Successfully sent {signal}s to {count} processes: {}", list(workers))
}
