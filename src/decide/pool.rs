//! Keeping N workers alive: starting missing ones, stopping surplus ones (behaviour.md sections 3
//! and 4).

use std::time::Duration;

use crate::decide::action::Action;
use crate::decide::backoff::back_off;
use crate::decide::stop;
use crate::decide::turn::{Turn, counted, list, size};
use crate::decide::waiters::{self, Answer};
use crate::outcome::Outcome;
use crate::state::{Generation, Monotonic, Pid, State, WORKERS_MAX, WaitsFor, Worker};

/// The most workers that are started in one turn: a start takes about a third of a millisecond, so
/// clients and exits are delayed by a few milliseconds at most, whatever the target is.
pub const SPAWNS_PER_TURN: usize = 16;

/// The average rate of immediate replacements: one per worker in this span. Workers that crash
/// right after their ACK do not count as early deaths; this keeps their replacement from spinning.
const PACE_PER_WORKER: Duration = Duration::from_millis(500);

/// The pace averages at most one start in this span, so that a large fleet that crashes after its
/// ACK does not exhaust the machine.
const PACE_MIN: Duration = Duration::from_millis(50);

/// How many replacements per worker may start at once before the pace limits them: the whole fleet
/// may be lost twice without a delay.
const PACE_BURST: u32 = 2;

/// Changes the target number of workers; the next turn acts on it. Clients that wait for another
/// target are told that it was superseded.
pub(super) fn set_target(turn: &mut Turn, target: u32) {
    if target != turn.state.config.target {
        let message = format!("Superseded: {target} workers are wanted by now");
        let answer = Answer { outcome: Outcome::Superseded, message };
        waiters::finish(turn, |waiter| waiter.waits_for == WaitsFor::Settled, &answer);
    }
    let state = &mut *turn.state;
    state.config.target = target;
    state.cold_start_count = state.cold_start_count.min(state.missing_count());
    let furthest = turn.now.monotonic + pace_burst_span(state);
    state.pace_used_until = state.pace_used_until.min(furthest);
}

/// Why the target cannot be changed to `new`, if it cannot.
pub(super) fn refuse_target(turn: &Turn, new: i64) -> Option<String> {
    if turn.state.stopping.is_some() {
        return Some("Can't change the number of workers: the master is going down".to_owned());
    }
    (new > i64::from(WORKERS_MAX))
        .then(|| format!("Can't run {new} workers: the most is {WORKERS_MAX}"))
}

/// Stops surplus workers of the current generation: first those that are not up, then those with
/// the highest slots, so that the slots in use stay low.
pub(super) fn cull(turn: &mut Turn) {
    let staying = || turn.state.current_workers().filter(|(_, worker)| !worker.is_stopping());
    let target = size(turn.state.config.target);
    let surplus = staying().count().saturating_sub(target);
    if surplus == 0 {
        return;
    }
    let mut staying: Vec<(Pid, &Worker)> = staying().collect();
    staying.sort_by_key(|(_, worker)| (worker.is_serving(), std::cmp::Reverse(worker.slot)));
    let going: Vec<Pid> = staying[..surplus].iter().map(|(pid, _)| *pid).collect();
    let surplus = counted(surplus, "worker");
    let signal = turn.state.config.stop_schedule().first();
    turn.info(format!("{surplus} more than needed: sending {signal} to {}", list(&going)));
    stop::request(turn, &going);
}

pub(super) fn replenish(turn: &mut Turn) {
    let now = turn.now.monotonic;
    // One at a time until the first start succeeds: a program that cannot be executed is then
    // reported once, and not N times.
    let limit = if turn.state.last_spawned_on.is_none() { 1 } else { SPAWNS_PER_TURN };
    let batch = limit.saturating_sub(turn.state.ordered.len());
    for _ in 0..batch {
        let Some((due, generation)) = next_start(turn.state) else { return };
        if due > now {
            return;
        }
        let state = &mut *turn.state;
        if state.cold_start_count > 0 {
            state.cold_start_count -= 1;
        } else if state.early_death_count > 0 {
            // The back-off allows one start; its outcome determines when the next is due.
            state.last_spawn_at = Some(now);
        } else if is_paced(state, generation) {
            state.pace_used_until = state.pace_used_until.max(now) + pace_period(state);
        }
        let slot = state.free_slot();
        state.ordered.insert(slot, generation);
        turn.actions.push(Action::Spawn { slot, generation });
    }
}

/// The generation of which one more worker is needed. While the canary is on trial there is only
/// one worker of the new generation, and the old generation is kept at the target.
fn generation_needed(state: &State) -> Option<Generation> {
    let (new, before) = (state.generation, state.rollout.as_ref().filter(|r| r.is_canary()));
    match before {
        None => (state.missing_count() > 0).then_some(new),
        Some(_) if state.present_count() == 0 => Some(new),
        Some(rollout) => (state.missing_old_count() > 0).then_some(rollout.from),
    }
}

/// When one more worker may be started, and of which generation; `None` if none is needed or
/// allowed.
///
/// The first N start at once. After that, the number of unacked workers is limited. After early
/// deaths, workers start one at a time with a back-off; otherwise replacements for lost workers
/// start at once, limited by the pace.
pub(super) fn next_start(state: &State) -> Option<(Monotonic, Generation)> {
    if state.stopping.is_some() || state.has_given_up() || state.room_for_additional() == 0 {
        return None;
    }
    let generation = generation_needed(state)?;
    Some((start_due_at(state, generation)?, generation))
}

fn start_due_at(state: &State, generation: Generation) -> Option<Monotonic> {
    if state.cold_start_count > 0 {
        return Some(Monotonic(0));
    }
    // Per generation: old workers that never come up must not block the code that fixes them, and a
    // slow canary must not block replacements of old workers.
    if state.unacked_count(generation) >= state.max_unacked() {
        return None;
    }
    if state.early_death_count > 0 {
        let wait = back_off(state.config.respawn_interval, state.early_death_count);
        return Some(state.last_spawn_at.unwrap_or_default() + wait);
    }
    if !is_paced(state, generation) {
        return Some(Monotonic(0));
    }
    let slack = pace_burst_span(state).saturating_sub(pace_period(state));
    let slack_nanos = u64::try_from(slack.as_nanos()).unwrap_or(u64::MAX);
    Some(Monotonic(state.pace_used_until.0.saturating_sub(slack_nanos)))
}

/// Whether a start replaces a lost worker. Starts of a roll-out's new generation are not paced:
/// workers of it that crash count as failures, and those end the roll-out.
fn is_paced(state: &State, generation: Generation) -> bool {
    state.rollout.is_none() || generation != state.generation
}

fn pace_period(state: &State) -> Duration {
    (PACE_PER_WORKER / state.config.target.max(1)).max(PACE_MIN)
}

fn pace_burst_span(state: &State) -> Duration {
    pace_period(state).saturating_mul(state.config.target.saturating_mul(PACE_BURST))
}
