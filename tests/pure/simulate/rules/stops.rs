//! Who is told to go, and who stays.

use std::cmp::Reverse;

use einhorn::state::{RolloutKind, Worker};

use super::super::step::{Step, count, has_canary, is_serving, is_up, number};
use super::{Broken, ensure};

pub(super) fn a_stop_tells_everyone(step: &Step) -> Broken {
    let mut workers = step.after.workers.values();
    let are_told = step.after.stopping.is_none() || workers.all(Worker::is_stopping);
    ensure(are_told, || "somebody is not told".to_owned())
}

pub(super) fn capacity_stays(step: &Step) -> Broken {
    let served = step.survivors().filter(|(_, before, now)| is_up(now) && !before.is_stopping());
    let promised = number(served).min(step.after.config.target);
    let serving = count(step.after, is_serving);
    ensure(serving >= promised, || format!("{serving} serve, and {promised} could"))
}

/// Of some workers those that a turn has told to go, and those that stay; those whose ACK took too
/// long, which go for that, left aside.
fn told_and_staying<'s>(
    step: &Step<'s>,
    is: impl Fn(&Worker) -> bool,
) -> (Vec<&'s Worker>, Vec<&'s Worker>) {
    let all = step.survivors().filter(|(_, before, now)| {
        is(now) && !before.is_stopping() && !(now.missed_ack_deadline && now.is_stopping())
    });
    all.map(|(_, _, now)| now).partition(|worker| worker.is_stopping())
}

pub(super) fn surplus_goes(step: &Step) -> Broken {
    let is_current = |worker: &Worker| worker.generation == step.after.generation;
    let (told, staying) = told_and_staying(step, is_current);
    let target = step.after.config.target as usize;
    let is_right = staying.len() == target || staying.len() < target && told.is_empty();
    ensure(is_right, || format!("{} stay", staying.len()))?;
    less_needed(&told, &staying, |worker| (is_up(worker), Reverse(worker.slot)))
}

pub(super) fn the_needed_stay(step: &Step) -> Broken {
    let state = step.after;
    let from = state.rollout.as_ref().map(|rollout| rollout.from);
    let is_old = |worker: &Worker| worker.generation != state.generation;
    let is_left_over = |worker: &Worker| !worker.is_acked() && Some(worker.generation) != from;
    let (_, useless) = told_and_staying(step, |worker| is_old(worker) && is_left_over(worker));
    ensure(useless.is_empty(), || format!("{} of no use stay", useless.len()))?;
    let (told, staying) = told_and_staying(step, |worker| is_old(worker) && !is_left_over(worker));
    less_needed(&told, &staying, |worker| {
        (is_up(worker), Some(worker.generation) == from, worker.slot)
    })?;
    let new = count(state, |worker| !is_old(worker) && is_serving(worker)) as usize;
    let target = state.config.target as usize;
    let with_new = if has_canary(state) { staying.len() } else { staying.len() + new };
    let is_fleet = state.rollout.as_ref().is_some_and(|r| r.kind == RolloutKind::Fleet);
    let are_enough = told.is_empty() || with_new >= target;
    let are_few = is_fleet || staying.is_empty() || with_new <= target;
    ensure(are_enough && are_few, || format!("{with_new} are left, {} were told", told.len()))
}

/// Who is told to go is less needed than who stays.
fn less_needed<T: Ord + std::fmt::Debug>(
    told: &[&Worker],
    staying: &[&Worker],
    need: impl Fn(&Worker) -> T,
) -> Broken {
    let told = told.iter().map(|worker| need(worker)).max();
    let staying = staying.iter().map(|worker| need(worker)).min();
    ensure(told.is_none() || staying.is_none() || told <= staying, || {
        format!("{told:?} was to stay rather than {staying:?}")
    })
}
