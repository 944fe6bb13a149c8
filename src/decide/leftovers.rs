//! What workers leave running in their process groups. With `--stop` it gets the rest of the
//! schedule, and holds up the master's end as long as that lasts; without, it is only named, since
//! the original lets a worker's background jobs live.

use std::time::Duration;

use crate::decide::action::Action;
use crate::decide::event::Left;
use crate::decide::turn::Turn;
use crate::decide::waiters::announce;
use crate::decide::{delivery, drain, killed, stop};
use crate::state::{Config, Leftover, Monotonic, Pid, Signal, State, StopProgress, Worker};
use crate::status;

/// How often they are looked for: nothing tells when the last process of a group has ended that is
/// no child of the master.
const LOOK_PERIOD: Duration = Duration::from_secs(1);

/// How long after the end of a child they are looked for: workers can have any number of children
/// end, and each look goes through all processes.
const LOOK_PAUSE: Duration = Duration::from_millis(100);

/// A worker was reaped, and processes run on in its group.
pub(super) fn found(turn: &mut Turn, group: Pid, worker: Worker, left: Left) {
    if worker.signaled.contains(&Signal::Kill) {
        // KILL went to the whole group: they are about to be gone.
        return;
    }
    let Left { count, program, is_suspended } = left;
    // What the schedule needs; the rest was about its first process.
    let Worker { slot, generation, spawned_at, spawned_on, acked_at, .. } = worker;
    let Worker { signaled, stop_requested_at, stop_progress, stop_signal, .. } = worker;
    let worker = Worker {
        slot,
        generation,
        spawned_at,
        spawned_on,
        acked_at,
        signaled,
        stop_requested_at,
        stop_progress,
        stop_signal,
        last_signaled_on: worker.last_signaled_on,
        ..Worker::default()
    };
    let look_at = turn.now.monotonic + LOOK_PERIOD;
    turn.state.leftovers.insert(group, Leftover { worker, count, program, look_at });
    let what = what(turn.state, group);
    let then = match turn.state.config.stop {
        Some(_) => "the schedule goes on for what is left",
        None => "what is left is left alone without --stop",
    };
    announce(turn, &format!("Worker {group} has left {what} in its process group; {then}"));
    schedule(turn, group);
    let_stop(turn, group, is_suspended);
}

/// Resumes suspended ones that must stop, unless the step itself suspends.
fn let_stop(turn: &mut Turn, group: Pid, is_suspended: bool) {
    let schedule = turn.state.config.stop_schedule();
    let leftover = turn.state.leftovers.get(&group).filter(|_| is_suspended);
    let progress = leftover.and_then(|leftover| leftover.worker.stop_progress);
    if progress.is_some_and(|progress| !schedule.signal(progress.step).stops_a_program()) {
        turn.actions.push(Action::Signal { pid: group, signal: Signal::Cont });
    }
}

/// With `--stop`, continues the worker's schedule for what it has left, or begins it; without,
/// forgets it.
fn schedule(turn: &mut Turn, group: Pid) {
    let schedule = turn.state.config.stop.clone();
    let now = turn.now.monotonic;
    let Some(leftover) = turn.state.leftovers.get_mut(&group) else { return };
    let worker = &mut leftover.worker;
    let Some(schedule) = schedule else {
        worker.signaled.clear();
        worker.stop_requested_at = None;
        worker.stop_progress = None;
        worker.stop_signal = None;
        return;
    };
    let progress = worker.stop_progress.get_or_insert(StopProgress { step: 0, since: now });
    let signal = schedule.signal(progress.step);
    stop::send(turn, group, signal);
}

/// `--stop` has been given or taken away: they are stopped from now on, or only named.
pub(super) fn reschedule(turn: &mut Turn, before: &Config) {
    if turn.state.config.stop.is_some() == before.stop.is_some() {
        return;
    }
    let groups: Vec<Pid> = turn.state.leftovers.keys().copied().collect();
    for group in groups {
        schedule(turn, group);
    }
}

/// A child has ended that was no worker: it may have been the last one of a group.
pub(super) fn look_soon(turn: &mut Turn) {
    let soon = turn.now.monotonic + LOOK_PAUSE;
    for leftover in turn.state.leftovers.values_mut() {
        leftover.look_at = leftover.look_at.min(soon);
    }
}

/// Looks for all of them if that is due for one: what it takes does not depend on how many.
pub(super) fn look_again(turn: &mut Turn) {
    let now = turn.now.monotonic;
    if deadline(turn.state).is_some_and(|due| due <= now) {
        let leftovers = turn.state.leftovers.values_mut();
        leftovers.for_each(|leftover| leftover.look_at = now + LOOK_PERIOD);
        turn.actions.push(Action::LookAtGroups);
    }
}

/// They were looked for.
pub(super) fn seen(turn: &mut Turn, group: Pid, left: Option<Left>) {
    let Some(leftover) = turn.state.leftovers.get_mut(&group) else { return };
    match left {
        Some(Left { count, program, is_suspended }) => {
            leftover.count = count;
            leftover.program = program;
            let_stop(turn, group, is_suspended);
        }
        None => {
            let gone = turn.state.leftovers.remove(&group);
            announce(turn, &format!("What worker {group} had left running is gone"));
            if let Some(gone) = gone {
                killed::count_leftover(turn, group, &gone);
            }
            // A turn has looked for them: nothing may happen for long after it.
            drain::settle(turn);
            drain::finish(turn);
        }
    }
}

/// When they are looked for again.
pub(super) fn deadline(state: &State) -> Option<Monotonic> {
    state.leftovers.values().map(|leftover| leftover.look_at).min()
}

/// When a stopping master no longer waits for them: at once without `--stop`. `None` while their
/// schedule goes on.
pub(super) fn given_up_at(state: &State, leftover: &Leftover) -> Option<Monotonic> {
    match &state.config.stop {
        None => Some(Monotonic(0)),
        Some(schedule) => delivery::over_at(&leftover.worker, schedule),
    }
}

/// `2 processes (sleep)`.
fn what(state: &State, group: Pid) -> String {
    state.leftovers.get(&group).map(status::leftover).unwrap_or_default()
}
