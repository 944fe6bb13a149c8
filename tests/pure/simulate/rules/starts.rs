//! Who is started: the limits, and that nobody is forgotten. When starts come, is for the ledger.

use einhorn::decide::{SPAWNS_PER_TURN, next_deadline};
use einhorn::state::{Generation, State};

use super::super::ledger::Ledger;
use super::super::step::{Step, has_canary, has_given_up, others, present, staying, unacked};
use super::super::world::World;
use super::{Broken, ensure, same};

pub(super) fn only_in_turns(step: &Step, _: &Ledger, _: &World) -> Broken {
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

pub(super) fn in_batches(step: &Step, _: &Ledger, _: &World) -> Broken {
    let (count, most) = (step.after.ordered.len(), batch(step.after));
    ensure(count <= most, || format!("{count} are ordered, and not {most}"))
}

pub(super) fn at_the_lowest_index(step: &Step, _: &Ledger, _: &World) -> Broken {
    let mut used: Vec<u32> = step.before.ordered.keys().map(|slot| slot.0).collect();
    used.extend(step.after.workers.values().map(|worker| worker.slot.0));
    for (slot, _) in step.starts() {
        let lowest = (0..).find(|index| !used.contains(index)).expect("an index is free");
        same("the index", &slot.0, &lowest)?;
        used.push(lowest);
    }
    Ok(())
}

pub(super) fn within_the_limits(step: &Step, _: &Ledger, _: &World) -> Broken {
    let (state, target) = (step.after, step.after.config.target);
    let from = state.rollout.as_ref().filter(|_| has_canary(state)).map(|rollout| rollout.from);
    for (_, generation) in step.starts() {
        let (count, most) = match generation == state.generation {
            true if from.is_some() => (present(state), 1),
            true => (present(state), target),
            false if from == Some(generation) => (others(state), target),
            false => (1, 0),
        };
        ensure(count <= most, || format!("{count} of {generation:?} where there may be {most}"))?;
        let (count, most) = (staying(state), staying_max(state));
        ensure(count <= most, || format!("{count} in a roll-out that allows {most}"))?;
    }
    Ok(())
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

pub(super) fn within_the_unacked(step: &Step, _: &Ledger, _: &World) -> Broken {
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
fn wanted(state: &State, from: Option<Generation>) -> Option<Generation> {
    let target = state.config.target;
    match has_canary(state) {
        true if present(state) == 0 => Some(state.generation),
        true => from.filter(|_| others(state) < target),
        false => (present(state) < target).then_some(state.generation),
    }
}

pub(super) fn the_missing_come(step: &Step, ledger: &Ledger, _: &World) -> Broken {
    let state = step.after;
    let Some(generation) = wanted(state, ledger.from).filter(|_| step.is_working_turn()) else {
        return Ok(());
    };
    let is_at_once = state.cold_start_count > 0;
    let is_held_up = is_batch_full(state)
        || has_given_up(state)
        || staying(state) >= staying_max(state)
        || (!is_at_once && unacked(state, generation) >= unacked_max(state));
    let due_at = ledger.start_due_at(step).max(step.now);
    // Its clock is rounded otherwise.
    let wakes = next_deadline(state).is_some_and(|at| at.0 <= due_at.0 + 1000);
    ensure(is_held_up || wakes, || {
        format!("one of {generation:?} is missing, and due at {due_at:?}")
    })
}
