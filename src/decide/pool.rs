//! Keeping N workers alive: what is missing, what is too many, who is up, who outstays
//! (behaviour.md sections 3 and 4).

use std::path::PathBuf;
use std::time::Duration;

use crate::decide::action::Action;
use crate::decide::turn::{Turn, list};
use crate::decide::waiters::{Answer, progress};
use crate::decide::{failures, rollout, upgrade, waiters};
use crate::outcome::Outcome;
use crate::state::{
    AckMode, Config, Connection, ConnectionId, ExitStatus, Generation, Monotonic, Now, Pid, Signal,
    Slot, State, Stopping, WaitsFor, Worker,
};

/// How many workers are started in one turn: a start takes about a third of a millisecond, so
/// clients and exits wait a few milliseconds at most however many workers are wanted.
pub const SPAWNS_PER_TURN: usize = 16;

/// The longest that the back-off waits (behaviour.md section 4).
pub const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// How much longer the back-off waits with each further death (behaviour.md section 4).
const BACKOFF_FACTOR: f64 = 1.5;

/// Immediate replacements, averaged over time: one a worker in this span. Workers that crash right
/// after their ACK never count as early deaths; this keeps their replacement from spinning.
const PACE_PER_WORKER: Duration = Duration::from_millis(500);

/// The pace never averages more than one start in this span, so that a big fleet that crashes
/// after its ACK does not eat the machine that it serves on.
const PACE_MIN: Duration = Duration::from_millis(50);

/// This many replacements a worker are due at once before the pace slows them: the whole fleet may
/// be lost, and be lost again, without a wait.
const PACE_BURST: u32 = 2;

/// Compares what should run with what runs and orders the difference; ends a master that has
/// nothing left to wait for.
pub(super) fn reconcile(turn: &mut Turn) {
    acknowledge_due(turn);
    kill_overdue(turn);
    if turn.state.stopping.is_none() {
        upgrade::reconcile(turn);
        rollout::reconcile(turn);
        cull(turn);
        replenish(turn);
        settle(turn);
    }
    leave_when_done(turn);
}

/// When the next [`crate::decide::Event::Turn`] has something to do, though nothing happens; an
/// instant of the past means at once.
pub fn next_deadline(state: &State) -> Option<Monotonic> {
    let Config { ack_mode, signal_timeout, .. } = state.config;
    // Every turn asks; many masters have neither a timer nor a time-out that runs.
    let has_timers = ack_mode != AckMode::Manual
        || signal_timeout.is_some()
        || state.workers.values().any(|worker| worker.has_overrun);
    let timed = has_timers.then(|| state.workers.values()).into_iter().flatten();
    let due = timed.flat_map(|w| [w.ack_due_at(ack_mode), w.kill_due_at(signal_timeout)]);
    let start = next_start(state).map(|(due, _)| due);
    let upgrade = upgrade::deadline(state).into_iter().chain(rollout::deadline(state));
    due.flatten().chain(start).chain(upgrade).min()
}

/// How long to wait after a start, with this many early deaths in a row.
pub fn back_off(interval: Duration, early_death_count: u32) -> Duration {
    // Not `powf`, which would link libm for this one line.
    let factor = BACKOFF_FACTOR.powi(i32::try_from(early_death_count).unwrap_or(i32::MAX));
    let seconds = interval.as_secs_f64() * factor;
    Duration::from_secs_f64(seconds.min(BACKOFF_MAX.as_secs_f64()))
}

/// A worker that was ordered runs.
pub(super) fn spawned(
    turn: &mut Turn,
    slot: Slot,
    pid: Pid,
    connection: Option<ConnectionId>,
    directory: Option<PathBuf>,
) {
    let generation = turn.state.ordered.remove(&slot).unwrap_or(turn.state.generation);
    let mut worker = Worker::new(slot, generation, turn.now);
    worker.connection = connection;
    worker.directory.clone_from(&directory);
    turn.state.workers.insert(pid, worker);
    if let Some(connection) = connection {
        turn.state.connections.insert(connection, Connection { given_to: Some(pid) });
    }
    turn.state.last_spawn_at = Some(turn.now.monotonic);
    turn.state.last_spawned_on = Some(turn.now.realtime);
    progress(turn, &format!("===> Launched {pid} (index: {})", slot.0));
    if let (Some(began_in), Some(directory)) = (turn.state.began_in(generation), directory)
        && began_in != directory
    {
        let stray = format!(
            "Worker {pid} of version {} runs in {}: {} is gone",
            generation.0,
            directory.display(),
            began_in.display()
        );
        turn.error(stray);
    }
    if turn.state.stopping.is_some() {
        turn.tell_to_go(&[pid], Signal::Usr2);
    }
}

/// A worker that was ordered could not be started: the same as one that died at once, except that
/// the rest of a first start waits too, since it would fail the same way.
pub(super) fn spawn_failed(turn: &mut Turn, slot: Slot, why: &str) {
    let generation = turn.state.ordered.remove(&slot);
    turn.state.cold_start_count = 0;
    turn.state.last_spawn_at = Some(turn.now.monotonic);
    waiters::trouble(turn, &format!("Could not start a worker (index: {}): {why}", slot.0));
    let Some(generation) = generation else { return };
    if turn.state.is_startable(generation) {
        count_early_death(turn, generation);
    }
    if generation == turn.state.generation {
        failures::start_failed(turn, slot, why);
    }
}

/// A child was reaped.
pub(super) fn exited(turn: &mut Turn, pid: Pid, status: ExitStatus, said: &[u8]) {
    let Some(worker) = turn.state.workers.remove(&pid) else {
        if rollout::check_ended(turn, pid, status) {
            return;
        }
        turn.debug(format!("Reaped process {pid}, which is no worker: {status}"));
        return;
    };
    // Somebody may hold the other end yet, and the pid may be another worker's next.
    if let Some(given) = worker.connection.and_then(|id| turn.state.connections.get_mut(&id)) {
        given.given_to = None;
    }
    let up = worker.is_acked() || is_ack_due(&worker, turn.state.config.ack_mode, turn.now);
    let before_ack = if up { "" } else { " before it was ACKed" };
    let age = turn.now.monotonic.since(worker.spawned_at).as_secs_f64();
    let message = format!(
        "===> Exited worker {pid} (index: {}){before_ack}: {status} after {age:.3}s",
        worker.slot.0
    );
    progress(turn, &message);
    if worker.has_overrun {
        failures::overrun_ended(turn, pid, &worker, said);
    }
    if worker.is_signaled() || turn.state.stopping.is_some() {
        return;
    }
    let deaths = turn.state.slot_deaths.entry(worker.slot).or_default();
    *deaths = deaths.saturating_add(1);
    if !up && turn.state.is_startable(worker.generation) {
        count_early_death(turn, worker.generation);
    }
    failures::worker_ended(turn, pid, &worker, up, status, said);
}

/// A worker counts as up. Answers whether it newly does.
pub(super) fn acknowledge(turn: &mut Turn, pid: Pid) {
    let at = turn.now.monotonic;
    let Some(worker) = turn.state.workers.get_mut(&pid) else { return };
    worker.acked_at = Some(at);
    let streak = std::mem::take(&mut turn.state.early_death_count);
    let ending = match streak {
        0 => String::new(),
        count => format!(", ending a streak of {count} deaths before an ACK"),
    };
    let mode = match turn.state.config.ack_mode {
        AckMode::Manual => "manual",
        AckMode::Timer(_) => "timer",
    };
    let (count, target) = (turn.state.acked_count(), turn.state.config.target);
    progress(turn, &format!("Up to {count} / {target} {mode} ACKs{ending}"));
}

/// Changes the target number of workers; the next turn acts on it. Whoever waits for another one
/// waits in vain.
pub(super) fn set_target(turn: &mut Turn, target: u32) {
    if target != turn.state.config.target {
        let message = format!("Superseded: {target} workers are wanted by now");
        let told = Answer { outcome: Outcome::Superseded, message };
        waiters::finish(turn, |waiter| waiter.waits_for == WaitsFor::Settled, &told);
    }
    let state = &mut *turn.state;
    state.config.target = target;
    state.cold_start_count = state.cold_start_count.min(state.missing_count());
    let furthest = turn.now.monotonic + pace_burst_span(state);
    state.pace_used_until = state.pace_used_until.min(furthest);
}

fn acknowledge_due(turn: &mut Turn) {
    let mode = turn.state.config.ack_mode;
    if mode == AckMode::Manual {
        return;
    }
    let due = |worker: &Worker| is_ack_due(worker, mode, turn.now);
    let pids: Vec<Pid> =
        turn.state.workers.iter().filter(|(_, w)| due(w)).map(|(pid, _)| *pid).collect();
    for pid in pids {
        acknowledge(turn, pid);
    }
}

fn is_ack_due(worker: &Worker, mode: AckMode, now: Now) -> bool {
    worker.ack_due_at(mode).is_some_and(|due| due <= now.monotonic)
}

fn kill_overdue(turn: &mut Turn) {
    let timeout = turn.state.config.signal_timeout;
    let now = turn.now.monotonic;
    let is_due = |worker: &Worker| worker.kill_due_at(timeout).is_some_and(|due| due <= now);
    let overdue = turn.state.workers.iter().filter(|(_, worker)| is_due(worker));
    let overdue: Vec<(Pid, Duration)> = overdue
        .map(|(pid, worker)| (*pid, worker.signal_timeout(timeout).unwrap_or_default()))
        .collect();
    for (pid, after) in overdue {
        let after = after.as_secs_f64();
        turn.info(format!("Worker {pid} is still there {after}s after its signal: sending KILL"));
        turn.tell_to_go(&[pid], Signal::Kill);
    }
}

/// Tells surplus workers of the newest code to go: first those that are not up, then the highest
/// indexes, so that the indexes in use stay low.
fn cull(turn: &mut Turn) {
    let staying = || turn.state.current_workers().filter(|(_, worker)| !worker.is_signaled());
    let target = usize::try_from(turn.state.config.target).unwrap_or(usize::MAX);
    let surplus = staying().count().saturating_sub(target);
    if surplus == 0 {
        return;
    }
    let mut staying: Vec<(Pid, &Worker)> = staying().collect();
    staying.sort_by_key(|(_, worker)| (worker.is_acked(), std::cmp::Reverse(worker.slot)));
    let going: Vec<Pid> = staying[..surplus].iter().map(|(pid, _)| *pid).collect();
    turn.info(format!("There are {surplus} workers too many: sending USR2 to {}", list(&going)));
    turn.tell_to_go(&going, Signal::Usr2);
}

fn replenish(turn: &mut Turn) {
    let now = turn.now.monotonic;
    // Until one could be started at all, one at a time: a program that cannot be executed is
    // reported once then, and not N times.
    let most = if turn.state.last_spawned_on.is_none() { 1 } else { SPAWNS_PER_TURN };
    let batch = most.saturating_sub(turn.state.ordered.len());
    for _ in 0..batch {
        let Some((due, generation)) = next_start(turn.state) else { return };
        if due > now {
            return;
        }
        let state = &mut *turn.state;
        if state.cold_start_count > 0 {
            state.cold_start_count -= 1;
        } else if state.early_death_count == 0 {
            state.pace_used_until = state.pace_used_until.max(now) + pace_period(state);
        } else {
            // The back-off allows one; its outcome sets the next.
            state.last_spawn_at = Some(now);
        }
        let slot = state.free_slot();
        state.ordered.insert(slot, generation);
        turn.actions.push(Action::Spawn { slot, generation });
    }
}

/// Of which code one more worker is wanted. While a canary shows what it is worth there is one of
/// it and no second, and the old ones stay as many as are wanted.
fn wanted(state: &State) -> Option<Generation> {
    let (new, before) = (state.generation, state.rollout.as_ref().filter(|r| r.is_canary()));
    match before {
        None => (state.missing_count() > 0).then_some(new),
        Some(_) if state.present_count() == 0 => Some(new),
        Some(rollout) => (state.missing_before_count() > 0).then_some(rollout.from),
    }
}

/// When one more worker may be started, and of which code; `None` while none is wanted or allowed.
///
/// The first N start at once. Later the number that waits for its ACK is limited. After deaths
/// before an ACK one at a time starts, backed off; otherwise replacements are immediate, at a pace.
fn next_start(state: &State) -> Option<(Monotonic, Generation)> {
    if state.stopping.is_some() || state.has_given_up() || rollout::room_for_additional(state) == 0
    {
        return None;
    }
    let generation = wanted(state)?;
    Some((start_due_at(state, generation)?, generation))
}

fn start_due_at(state: &State, generation: Generation) -> Option<Monotonic> {
    if state.cold_start_count > 0 {
        return Some(Monotonic(0));
    }
    // Old workers that never come up must not keep the code away that mends them, nor a canary that
    // takes its time those that serve until it does.
    if state.unacked_count(generation) >= state.max_unacked() {
        return None;
    }
    if state.early_death_count > 0 {
        let wait = back_off(state.config.respawn_interval, state.early_death_count);
        return Some(state.last_spawn_at.unwrap_or_default() + wait);
    }
    let slack = pace_burst_span(state).saturating_sub(pace_period(state));
    let slack_nanos = u64::try_from(slack.as_nanos()).unwrap_or(u64::MAX);
    Some(Monotonic(state.pace_used_until.0.saturating_sub(slack_nanos)))
}

fn pace_period(state: &State) -> Duration {
    (PACE_PER_WORKER / state.config.target.max(1)).max(PACE_MIN)
}

fn pace_burst_span(state: &State) -> Duration {
    pace_period(state).saturating_mul(state.config.target.saturating_mul(PACE_BURST))
}

/// Whoever waits for as many workers as are wanted has them.
fn settle(turn: &mut Turn) {
    let state = &*turn.state;
    if !state.waiters.iter().any(|waiter| waiter.waits_for == WaitsFor::Settled) {
        return;
    }
    let target = state.config.target;
    let told = if state.has_given_up() {
        let message = format!("Not settled: {} of {target} are up", state.current_capacity());
        Answer { outcome: Outcome::Failed, message }
    } else if state.capacity() == target && state.staying_count() == target {
        Answer::done(format!("{target} workers are up"))
    } else {
        return;
    };
    waiters::finish(turn, |waiter| waiter.waits_for == WaitsFor::Settled, &told);
}

/// One more death, or something as bad, before an ACK, of code that is started now. The last
/// attempt of all is the canary's: old workers that die beside it say nothing of the new code.
pub(super) fn count_early_death(turn: &mut Turn, generation: Generation) {
    let count = turn.state.early_death_count.saturating_add(1);
    let is_last = turn.state.config.retries == Some(count);
    if is_last && generation != turn.state.generation {
        return;
    }
    turn.state.early_death_count = count;
    if is_last {
        count_attempts(turn);
    }
}

/// Gives up when as many attempts as may be have failed, and tells whoever waits.
pub(super) fn count_attempts(turn: &mut Turn) {
    let count = turn.state.early_death_count;
    // In a roll-out the old code is what is started next.
    if turn.state.has_given_up() && turn.state.rollout.is_none() {
        turn.error(format!(
            "Giving up after {count} consecutive deaths before an ACK (--retries): nothing more \
             is started until `config` raises retries, or an upgrade brings other code"
        ));
    }
}

fn leave_when_done(turn: &mut Turn) {
    if !turn.state.workers.is_empty() || !turn.state.ordered.is_empty() {
        return;
    }
    if turn.state.stopping.is_none() && turn.state.has_given_up() {
        turn.error("No worker is left and no more attempts are allowed: leaving");
        turn.state.stopping = Some(Stopping { exit_code: 1 });
        upgrade::abandon(turn);
    }
    if let Some(Stopping { exit_code: code }) = turn.state.stopping {
        let message = "All workers are gone";
        turn.info(message);
        say_farewell(turn, message);
        turn.actions.push(Action::Exit { code });
    }
}

/// Those who wait for the end of the master hear of it.
pub(super) fn say_farewell(turn: &mut Turn, message: &str) {
    let told = Answer::done(message);
    waiters::finish(turn, |waiter| waiter.waits_for == WaitsFor::Exit, &told);
}
