//! Candidates, canaries, roll-outs: who takes over, and that it ends.

use std::time::Duration;

use einhorn::decide::{Action, Event, PreflightOutcome};
use einhorn::outcome::Outcome;
use einhorn::state::{
    CanaryCheck, ExitStatus, FAILURES_KEPT, Pid, Reexec, Rollout, RolloutKind, RolloutStage, Stage,
    State, Worker,
};

use super::super::processes::Role;
use super::super::step::{Step, count, has_canary, is_serving, is_up, number};
use super::{Broken, ensure, same};

pub(super) fn only_the_fit_take_over(step: &Step) -> Broken {
    let mut due = None;
    if let Event::PreflightEnded { outcome } = step.event
        && let PreflightOutcome::Ended { status: ExitStatus::Code(0), report, .. } = outcome
        && let Some(Reexec { stage, is_hand_back, .. }) = step.before.reexec
        && matches!(stage, Stage::Preflight { is_overdue: false, .. })
        && report.is_none() == is_hand_back
    {
        due = Some(if is_hand_back { Action::HandBack } else { Action::HandOver });
    }
    let is_it = |action: &&Action| matches!(action, Action::HandOver | Action::HandBack);
    let found: Vec<&Action> = step.actions.iter().filter(is_it).collect();
    same("who takes over", &found, &due.iter().collect())
}

pub(super) fn asked_in_vain(step: &Step) -> Broken {
    let is_asked = step.after.reexec.is_some_and(|r| matches!(r.stage, Stage::Preflight { .. }));
    let looks = step.after.rollout.as_ref().and_then(Rollout::check);
    for (pid, process) in step.world.processes.iter().filter(|(_, process)| !process.is_killed) {
        let is_wanted = match process.role {
            Role::Worker(..) => true,
            Role::Candidate => is_asked,
            Role::Check => looks == Some(*pid),
        };
        ensure(is_wanted, || format!("{pid} runs on"))?;
        let is_late = process.until.is_some_and(|until| until <= step.now);
        ensure(!step.is_turn() || !is_late, || format!("{pid} has had its time"))?;
    }
    Ok(())
}

/// The command that looks at the canary.
fn look(state: &State) -> Option<CanaryCheck> {
    let RolloutStage::Canary { check } = state.rollout.as_ref()?.stage else { return None };
    check
}

/// Whether a canary could pass now, its command left aside.
fn is_well(step: &Step, worker: &Worker) -> bool {
    let span = step.after.config.rollout.canary;
    let is_new = worker.generation == step.after.generation;
    is_new && is_serving(worker) && worker.acked_at.is_some_and(|at| at + span <= step.now)
}

pub(super) fn canaries_pass(step: &Step) -> Broken {
    let command = &step.after.config.rollout.on_canary;
    let is_canary_well = count(step.after, |worker| is_well(step, worker)) > 0;
    if step.is_working_turn() && has_canary(step.after) && look(step.after).is_none() {
        ensure(!is_canary_well, || "it waits on".to_owned())?;
    }
    let passes = has_canary(step.before)
        && match &step.after.rollout {
            Some(rollout) => !rollout.is_canary(),
            None => step.rollout_ended() == Some(Outcome::Done),
        };
    let is_found_well = match (look(step.before), step.event) {
        (Some(look), Event::Exited { pid, status: ExitStatus::Code(0), .. }) => {
            let runs = step.after.workers.get(&look.worker).is_some_and(is_up);
            look.process == Some(*pid) && !look.is_overdue && runs
        }
        (None, Event::Turn) => command.is_empty() && is_canary_well,
        _ => false,
    };
    ensure(!passes || is_found_well || step.begins_rollout(), || "it was not".to_owned())
}

pub(super) fn looks_last(step: &Step) -> Broken {
    for action in step.actions {
        let Action::RunCanaryCheck { worker, .. } = action else { continue };
        let known = step.after.workers.get(worker);
        ensure(known.is_some_and(|known| is_well(step, known)), || format!("{known:?}"))?;
    }
    let Some(looked) = look(step.before) else { return Ok(()) };
    let ended =
        |pid: Option<Pid>| matches!(step.event, Event::Exited { pid: it, .. } if Some(*it) == pid);
    let is_its_end = ended(Some(looked.worker)) || ended(looked.process);
    let goes_on = look(step.after).is_some_and(|now| now.worker == looked.worker);
    let is_over = step.rollout_ended().is_some();
    ensure(goes_on != is_its_end || is_over, || format!("{looked:?}, and then {:?}", step.event))?;
    let is_well = matches!(step.event, Event::Exited { status: ExitStatus::Code(0), .. });
    let has_passed = is_well && !looked.is_overdue;
    ensure(!ended(looked.process) || has_passed != is_over, || format!("then {is_over}"))
}

pub(super) fn failures_are_counted(step: &Step) -> Broken {
    let (Some(before), Some(now)) = (&step.before.rollout, &step.after.rollout) else {
        return Ok(());
    };
    if step.begins_rollout() {
        return Ok(());
    }
    let is_new = |worker: &&Worker| worker.generation == step.before.generation;
    let was_up = |worker: &Worker| worker.is_acked() || step.has_timer_ended(worker);
    let died_early = step.died().filter(is_new).is_some_and(|worker| !was_up(worker));
    let late = number(step.newly(|worker| worker.missed_ack_deadline));
    let least = late + u32::from(died_early);
    let most = late + u32::from(!step.is_turn());
    let count = now.failure_count - before.failure_count;
    ensure((least..=most).contains(&count), || format!("{count} more, and not {least}"))?;
    let told = FAILURES_KEPT.min(now.failure_count as usize);
    same("those told of", &now.failures.len(), &told)
}

/// Whether a roll-out has as many failures as end it, or as many deaths in a row.
fn has_failed(step: &Step, rollout: &Rollout, failure_count: u32, deaths: u32) -> bool {
    let config = &step.after.config;
    // While there is but a canary the size of the fleet says nothing.
    let tenth = if rollout.is_canary() { 0 } else { config.target.div_ceil(10) };
    let failures_max = config.rollout.failures_max.unwrap_or(tenth.max(3));
    failure_count >= failures_max || config.retries.is_some_and(|retries| deaths >= retries)
}

fn has_timed_out(step: &Step, rollout: &Rollout) -> bool {
    let timeout = step.after.config.rollout.upgrade_timeout;
    timeout.is_some_and(|timeout| rollout.began_at + timeout <= step.now)
}

pub(super) fn bounds_end_it(step: &Step) -> Broken {
    let (Some(before), Some(now)) = (&step.before.rollout, &step.after.rollout) else {
        return Ok(());
    };
    let has_failed = has_failed(step, before, now.failure_count, step.after.early_death_count);
    let is_over = has_failed || has_timed_out(step, now) || is_complete(step, now);
    ensure(!is_over, || "it goes on".to_owned())
}

/// Whether as many new workers are up as are wanted; those of a fleet, for which all old ones go at
/// once, for as long as a canary would have to.
fn is_complete(step: &Step, rollout: &Rollout) -> bool {
    let is_fleet = rollout.kind == RolloutKind::Fleet;
    let span = if is_fleet { step.after.config.rollout.canary } else { Duration::ZERO };
    let is_done = |(_, before, now): &(Pid, &Worker, &Worker)| {
        now.generation == step.after.generation
            && !before.is_stopping()
            && is_up(now)
            && now.acked_at.is_some_and(|at| at + span <= step.now)
    };
    let is_passed = step.after.rollout.as_ref().is_none_or(|rollout| !rollout.is_canary());
    is_passed && number(step.survivors().filter(is_done)) >= step.after.config.target
}

pub(super) fn it_ends_for_a_reason(step: &Step) -> Broken {
    let (Some(outcome), Some(rollout)) = (step.rollout_ended(), &step.before.rollout) else {
        return Ok(());
    };
    let late = number(step.newly(|worker| worker.missed_ack_deadline));
    let deaths = step.before.early_death_count + late;
    let has_reason = match outcome {
        Outcome::Done => step.is_turn() && is_complete(step, rollout),
        Outcome::Failed if step.is_turn() => {
            has_failed(step, rollout, rollout.failure_count + late, deaths)
        }
        // Its command has found something, or cannot be started.
        Outcome::Failed => look(step.before).is_some(),
        Outcome::TimedOut => step.is_turn() && has_timed_out(step, rollout),
        Outcome::Aborted => step.after.stopping.is_some() || step.command() == Some("abort"),
        Outcome::Superseded => step.begins_rollout(),
        _ => false,
    };
    ensure(has_reason, || format!("{outcome:?}"))
}
