//! Who is told to go, and who stays.

use std::cmp::Reverse;
use std::time::Duration;

use einhorn::decide::Event;
use einhorn::state::{Pid, RolloutKind, Signal, Worker};

use super::super::ledger::Ledger;
use super::super::step::{Step, count, has_canary, is_going, number, serving};
use super::super::world::World;
use super::{Broken, ensure, same};

/// How long a worker whose ACK took too long may outlive its signal.
const GRACE_MAX: Duration = Duration::from_secs(10);

pub(super) fn signals_have_a_reason(step: &Step, _: &Ledger, _: &World) -> Broken {
    for (pid, signal) in step.signals() {
        let has_reason = match (step.event, step.command()) {
            (Event::Turn, _) => matches!(signal, Signal::Usr2 | Signal::Kill),
            (_, Some("signal")) => step.newly(is_going).next().is_none(),
            _ => step.after.stopping.is_some(),
        };
        ensure(has_reason, || format!("SIG{signal} to {pid}"))?;
    }
    Ok(())
}

pub(super) fn a_stop_tells_everyone(step: &Step, _: &Ledger, _: &World) -> Broken {
    let is_stopping = step.after.stopping.is_some();
    let left = count(step.after, |worker| !is_going(worker));
    ensure(!is_stopping || left == 0, || format!("{left} are not told"))
}

pub(super) fn overdue_are_killed(step: &Step, _: &Ledger, _: &World) -> Broken {
    if !step.is_turn() {
        return Ok(());
    }
    let killed = step.signals().filter(|(_, signal)| *signal == Signal::Kill);
    let timeout = step.after.config.signal_timeout;
    let is_overdue = |worker: &Worker| {
        let patience = match worker.missed_ack_deadline {
            true => Some(timeout.map_or(GRACE_MAX, |timeout| timeout.min(GRACE_MAX))),
            false => timeout,
        };
        let due_at = worker.stop_requested_at.zip(patience).map(|(at, patience)| at + patience);
        due_at.is_some_and(|at| at <= step.now) && !worker.signaled.contains(&Signal::Kill)
    };
    let overdue = step.before.workers.iter().filter(|(_, worker)| is_overdue(worker));
    let overdue: Vec<Pid> = overdue.map(|(pid, _)| *pid).collect();
    same("who is killed", &killed.map(|(pid, _)| pid).collect(), &overdue)
}

pub(super) fn each_is_told_once(step: &Step, _: &Ledger, _: &World) -> Broken {
    let told = step.signals().filter(|(_, signal)| *signal == Signal::Usr2);
    let mut told: Vec<Pid> = told.map(|(pid, _)| pid).collect();
    told.sort_unstable();
    let newly: Vec<Pid> = step.newly(is_going).map(|(pid, _)| pid).collect();
    ensure(!step.is_turn() || told == newly, || format!("told {told:?}, newly {newly:?}"))
}

pub(super) fn capacity_stays(step: &Step, _: &Ledger, _: &World) -> Broken {
    let served = |(_, before, now): &&(Pid, &Worker, &Worker)| now.is_acked() && !is_going(before);
    let promised = number(step.survivors.iter().filter(served)).min(step.after.config.target);
    let serving = serving(step.after);
    ensure(!step.is_working_turn() || serving >= promised, || {
        format!("{serving} serve, and {promised} could")
    })
}

/// Of some workers those that a turn has told to go, and those that stay; those whose ACK took too
/// long, which go for that, left aside.
fn told_and_staying<'s>(
    step: &Step<'s>,
    is: impl Fn(&Worker) -> bool,
) -> (Vec<&'s Worker>, Vec<&'s Worker>) {
    let all = step.survivors.iter().filter(|(_, before, now)| {
        is(now) && !is_going(before) && !(now.missed_ack_deadline && is_going(now))
    });
    all.map(|(_, _, now)| *now).partition(|worker| is_going(worker))
}

pub(super) fn surplus_goes(step: &Step, _: &Ledger, _: &World) -> Broken {
    if !step.is_working_turn() {
        return Ok(());
    }
    let is_current = |worker: &Worker| worker.generation == step.after.generation;
    let (told, staying) = told_and_staying(step, is_current);
    let target = step.after.config.target as usize;
    ensure(staying.len() <= target, || format!("{} stay", staying.len()))?;
    ensure(told.is_empty() || staying.len() == target, || format!("{} stay", staying.len()))?;
    let rank = |worker: &&Worker| (worker.is_acked(), Reverse(worker.slot));
    in_order(told.iter().map(rank).max(), staying.iter().map(rank).min())
}

pub(super) fn the_needed_stay(step: &Step, ledger: &Ledger, _: &World) -> Broken {
    if !step.is_working_turn() {
        return Ok(());
    }
    let state = step.after;
    let is_left_over =
        |worker: &Worker| !worker.is_acked() && Some(worker.generation) != ledger.from;
    let is_old = |worker: &Worker| worker.generation != state.generation;
    let (_, useless) = told_and_staying(step, |worker| is_old(worker) && is_left_over(worker));
    ensure(useless.is_empty(), || format!("{} of no use stay", useless.len()))?;
    let (told, staying) = told_and_staying(step, |worker| is_old(worker) && !is_left_over(worker));
    let rank =
        |worker: &&Worker| (worker.is_acked(), Some(worker.generation) == ledger.from, worker.slot);
    in_order(told.iter().map(rank).max(), staying.iter().map(rank).min())?;
    let is_serving = |worker: &Worker| worker.is_acked() && !is_going(worker);
    let new = count(state, |worker| !is_old(worker) && is_serving(worker)) as usize;
    let target = state.config.target as usize;
    let with_new = if has_canary(state) { staying.len() } else { staying.len() + new };
    ensure(told.is_empty() || with_new >= target, || format!("{with_new} are left"))?;
    let is_fleet = state.rollout.as_ref().is_some_and(|r| r.kind == RolloutKind::Fleet);
    ensure(is_fleet || staying.is_empty() || with_new <= target, || format!("{with_new} stay"))
}

/// Who is told is less needed than who stays.
fn in_order<T: Ord + std::fmt::Debug>(told: Option<T>, staying: Option<T>) -> Broken {
    match (told, staying) {
        (Some(told), Some(staying)) if told > staying => {
            Err(format!("{told:?} was to stay rather than {staying:?}"))
        }
        _ => Ok(()),
    }
}
