//! Who is started, and within which limits. When starts come is for the ledger.

use einhorn::decide::SPAWNS_PER_TURN;
use einhorn::state::{Generation, State, Worker};

use super::super::step::{Step, has_canary, has_given_up, staying, with_ordered};
use super::{Broken, ensure, same};

pub(super) fn only_in_turns(step: &Step) -> Broken {
    let may = step.is_working_turn() && !has_given_up(step.after);
    ensure(may || step.starts().next().is_none(), || "a start".to_owned())
}

/// How many are ordered at once: one until one could be started.
fn batch(state: &State) -> usize {
    if state.last_spawned_on.is_none() { 1 } else { SPAWNS_PER_TURN }
}

pub(in super::super) fn is_batch_full(state: &State) -> bool {
    state.ordered.len() >= batch(state)
}

pub(super) fn in_batches(step: &Step) -> Broken {
    let (count, most) = (step.after.ordered.len(), batch(step.after));
    ensure(count <= most, || format!("{count} are ordered, and not {most}"))
}

pub(super) fn at_the_lowest_index(step: &Step) -> Broken {
    let mut used: Vec<u32> = step.before.ordered.keys().map(|slot| slot.0).collect();
    used.extend(step.after.workers.values().map(|worker| worker.slot.0));
    for (slot, _) in step.starts() {
        let lowest = (0..).find(|index| !used.contains(index)).expect("an index is free");
        same("the index", &slot.0, &lowest)?;
        used.push(lowest);
    }
    Ok(())
}

/// How many of the code that is meant to serve live or are ordered. Those that were told to go
/// count as long as they live, unless a roll-out that failed has told them: they may drain for
/// hours, and somebody is wanted in their place.
fn present(state: &State) -> u32 {
    let has_gone_back = state.newest_generation > state.generation;
    let counts = |worker: &Worker| !(has_gone_back && worker.is_stopping());
    with_ordered(state, counts, |generation| generation == state.generation)
}

/// How many of other code stay or are ordered.
fn others(state: &State) -> u32 {
    let stays = |worker: &Worker| !worker.is_stopping();
    with_ordered(state, stays, |generation| generation != state.generation)
}

/// How many of a code are ordered, or neither up nor on their way out.
fn unacked(state: &State, generation: Generation) -> u32 {
    let waits = |worker: &Worker| !worker.is_acked() && !worker.is_stopping();
    with_ordered(state, waits, |other| other == generation)
}

/// How many may stay, by `--max-upgrade-additional`.
fn staying_max(state: &State) -> u32 {
    let additional = state.rollout.as_ref().and(state.config.max_upgrade_additional);
    additional.map_or(u32::MAX, |additional| state.config.target + additional)
}

/// How many may wait for their ACK, but for those that all start at once.
fn unacked_max(state: &State) -> u32 {
    state.config.max_unacked.unwrap_or(state.processor_count)
}

pub(super) fn within_the_limits(step: &Step) -> Broken {
    let (state, target) = (step.after, step.after.config.target);
    let from = state.rollout.as_ref().filter(|_| has_canary(state)).map(|rollout| rollout.from);
    for (_, generation) in step.starts() {
        let (count, most) = match generation == state.generation {
            true => (present(state), if from.is_some() { 1 } else { target }),
            false if from == Some(generation) => (others(state), target),
            false => (1, 0),
        };
        ensure(count <= most, || format!("{count} of {generation:?} where there may be {most}"))?;
        let (count, most) = (staying(state), staying_max(state));
        ensure(count <= most, || format!("{count} in a roll-out that allows {most}"))?;
    }
    Ok(())
}

pub(super) fn within_the_unacked(step: &Step) -> Broken {
    if step.before.cold_start_count > 0 {
        return Ok(());
    }
    let most = unacked_max(step.after);
    for (_, generation) in step.starts() {
        let count = unacked(step.after, generation);
        ensure(count <= most, || format!("{count} of {generation:?} wait, and {most} may"))?;
    }
    Ok(())
}

/// Of which code one more is wanted: beside a canary old ones are replaced by their like.
pub(in super::super) fn wanted(state: &State) -> Option<Generation> {
    let target = state.config.target;
    let canary = state.rollout.as_ref().filter(|_| has_canary(state));
    match canary.map(|rollout| rollout.from) {
        Some(_) if present(state) == 0 => Some(state.generation),
        Some(from) => (others(state) < target).then_some(from),
        None => (present(state) < target).then_some(state.generation),
    }
}

/// Whether a limit keeps one more of this code away.
pub(in super::super) fn is_held_up(state: &State, generation: Generation) -> bool {
    let is_at_once = state.cold_start_count > 0;
    is_batch_full(state)
        || has_given_up(state)
        || staying(state) >= staying_max(state)
        || (!is_at_once && unacked(state, generation) >= unacked_max(state))
}
