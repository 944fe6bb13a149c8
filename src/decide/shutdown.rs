//! Stopping the master: its workers are asked to stop, and it exits once they are gone.

use crate::decide::turn::{Turn, counted, list};
use crate::decide::{stop, upgrade};
use crate::state::{Pid, Signal, State, StopProgress, StopSignal, Stopping, Worker};
use crate::status;

/// How many workers a reply names one by one; more are counted.
const NAMED_MAX: usize = 8;

/// Stops the master by the schedule: starts no more workers, asks all of them to stop, and exits
/// once they are gone. Returns what was done, in words.
pub(super) fn by_schedule(turn: &mut Turn) -> String {
    begin(turn);
    let workers = turn.all_workers();
    if let Some(waiting) = only_leftovers(turn.state) {
        turn.info(waiting.clone());
        return waiting;
    }
    let signal = turn.state.config.stop_schedule().first();
    // The original repeats its signal, and without `--stop` so does this.
    let is_repeated = turn.state.config.stop.is_none();
    let is_on_schedule = |worker: &Worker| worker.stop_progress.is_some() && !is_repeated;
    let (waiting, asked): (Vec<Pid>, Vec<Pid>) =
        workers.into_iter().partition(|pid| is_on_schedule(&turn.state.workers[pid]));
    match asked.is_empty() && !waiting.is_empty() {
        true => turn.info(still_stopping(turn, &waiting)),
        false => turn.info(format!("Sending {signal} to {}", list(&asked))),
    }
    stop::request(turn, &asked);
    match (asked.is_empty(), waiting.is_empty()) {
        (_, true) => sent_message(signal, &asked),
        (true, false) => still_stopping(turn, &waiting),
        (false, false) => {
            format!("{}; {}", sent_message(signal, &asked), still_stopping(turn, &waiting))
        }
    }
}

/// Stops the master with a signal in place of the schedule's. May be repeated with another one.
pub(super) fn with_signal(turn: &mut Turn, signal: Signal) -> String {
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
        stop::send(turn, *pid, signal);
    }
    sent_message(signal, &workers)
}

/// Stops the master and moves every worker to the next step of the schedule, without waiting for
/// its time.
pub(super) fn next_step(turn: &mut Turn) -> String {
    begin(turn);
    let schedule = turn.state.config.stop_schedule();
    let mut moved = Vec::new();
    // What is only named, without `--stop`, has no steps.
    let leftovers = turn.state.leftovers.iter();
    let leftovers = leftovers.filter(|(_, leftover)| leftover.worker.stop_progress.is_some());
    let leftovers: Vec<Pid> = leftovers.map(|(group, _)| *group).collect();
    let all: Vec<Pid> = turn.all_workers().into_iter().chain(leftovers).collect();
    let count = all.len();
    for pid in all {
        let progress = turn.state.stoppable(pid).and_then(|worker| worker.stop_progress);
        if progress.is_none_or(|progress| schedule.has_next(progress.step)) {
            moved.push(format!("{} to {pid}", stop::next_step(turn, pid, &schedule)));
        }
    }
    let staying = count - moved.len();
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
    upgrade::abandon(turn);
}

/// `No worker is left; waiting for 2 processes (sleep) of worker 11`, if that is so.
fn only_leftovers(state: &State) -> Option<String> {
    let leftovers = state.leftovers.iter().filter(|(_, it)| it.worker.stop_progress.is_some());
    let named = leftovers.map(|(group, it)| format!("{} of worker {group}", status::leftover(it)));
    let named: Vec<String> = named.collect();
    let more = if named.len() > NAMED_MAX { ", …" } else { "" };
    let some = named.iter().take(NAMED_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
    (state.workers.is_empty() && !named.is_empty())
        .then(|| format!("No worker is left; waiting for {some}{more}"))
}

/// `2 workers are stopping already: 11 (KILL in 24s), 12 (KILL in 24s)`.
fn still_stopping(turn: &Turn, pids: &[Pid]) -> String {
    let schedule = turn.state.config.stop_schedule();
    let named = pids.iter().take(NAMED_MAX).map(|pid| {
        let worker = &turn.state.workers[pid];
        let step = worker.stop_progress.map_or(0, |progress| progress.step);
        let unsent = worker.stop_signal.as_ref().filter(|sent| sent.failure().is_some());
        if let Some(StopSignal { signal, .. }) = unsent {
            return format!("{pid} (cannot be sent {signal})");
        }
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
