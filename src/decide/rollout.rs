//! The roll-out of a new generation: its stages, its end, and the old workers that it replaces
//! (behaviour.md section 6, docs/decisions/0010-upgrades-that-end.md).

use std::path::Path;

use crate::decide::turn::{Turn, counted, list, size};
use crate::decide::waiters::{self, Answer, announce};
use crate::decide::{canary, ending, failures, stop};
use crate::outcome::Outcome;
use crate::state::{
    CanaryCheck, EndedUpgrade, ExitStatus, Generation, Monotonic, Pid, Reexec, Rollout,
    RolloutKind, RolloutStage, Stage, State, UpgradeKind, Waiter, WaitsFor, Worker,
};
use crate::status;

/// Begins the roll-out of a new generation.
pub(super) fn begin(turn: &mut Turn, kind: RolloutKind, asked_at: Monotonic) {
    ending::finish(turn);
    let from = supersede(turn);
    let state = &mut *turn.state;
    state.reexec = None;
    for waiter in &mut state.waiters {
        if waiter.waits_for == WaitsFor::Upgrade {
            waiter.waits_for = WaitsFor::Rollout;
        }
    }
    state.newest_generation.0 = state.newest_generation.0.saturating_add(1);
    state.generation = state.newest_generation;
    state.rollout = Some(Rollout::new(kind, from, asked_at, turn.now.monotonic));
    state.last_upgraded_on = Some(turn.now.realtime);
    if let Some(deployment) = state.next_deployment.take() {
        state.deployments.insert(state.generation, deployment);
    }
    let kept = [from, state.generation];
    state.deployments.retain(|generation, _| kept.contains(generation));
    if let Some(retries) = state.config.retries.filter(|_| state.has_given_up()) {
        // New code gets one attempt, and no more.
        state.early_death_count = retries.saturating_sub(1);
    }
    state.cold_start_count = match kind {
        RolloutKind::Fleet => state.config.target,
        RolloutKind::Smooth => 0,
    };
    let name = if kind == RolloutKind::Smooth { "smooth" } else { "fleet" };
    let to = match release(turn.state, turn.state.generation) {
        release if release.is_empty() => release,
        release => format!(" to generation {}{release}", turn.state.generation.0),
    };
    announce(turn, &format!("Starting {name} upgrade from generation {}{to}...", from.0));
}

/// Ends a roll-out in favour of a new one. Returns the generation to restore if the new one fails.
fn supersede(turn: &mut Turn) -> Generation {
    let Some(from) = turn.state.rollout.as_ref().map(|rollout| rollout.from) else {
        return turn.state.generation;
    };
    announce(turn, "Starting over with the newest code");
    let numbers = status::numbers(turn.state, turn.now);
    if let Some(ended) = close(turn) {
        let message = "Upgrade superseded: a newer one has begun".to_owned();
        let ended = EndedUpgrade { outcome: Outcome::Superseded, message, ..ended };
        // The original's clients expect no such outcome: they wait for the newest upgrade to end.
        let is_notified = |w: &Waiter| w.waits_for == WaitsFor::Rollout && w.wants_events;
        waiters::finish_upgrade(turn, ended, numbers, is_notified);
    }
    from
}

/// A re-exec without a roll-out reloads the environment only; the generation keeps its directory.
pub(super) fn reload_deployment(turn: &mut Turn) {
    let state = &mut *turn.state;
    let Some(next) = state.next_deployment.take() else { return };
    state.deployments.entry(state.generation).or_default().environment = next.environment;
}

/// The `--on-canary` command could not be started.
pub(super) fn check_not_started(turn: &mut Turn, why: &str) {
    if let Some(Rollout {
        stage: RolloutStage::Canary { check: Some(CanaryCheck { process: None, .. }) },
        ..
    }) = turn.state.rollout
    {
        end(turn, Outcome::Failed, &format!("--on-canary could not be started: {why}"));
    }
}

/// A child that is not a worker exited. Returns whether it was the `--on-canary` command.
pub(super) fn check_exited(turn: &mut Turn, pid: Pid, status: ExitStatus) -> bool {
    let Some(Rollout { stage: RolloutStage::Canary { check: Some(check) }, .. }) =
        turn.state.rollout
    else {
        return false;
    };
    if check.process != Some(pid) {
        return false;
    }
    if status == ExitStatus::Code(0) && !check.is_overdue {
        canary::pass_check(turn, check.worker);
        return true;
    }
    let CanaryCheck { worker, is_overdue, .. } = check;
    // It has exited, so `end` must not try to kill it.
    canary::set_check(turn, None);
    let what = match is_overdue {
        true => {
            let limit = turn.state.config.rollout.on_canary_timeout.as_secs_f64();
            format!("took longer than {limit}s")
        }
        false => format!("ended with {status}"),
    };
    end(turn, Outcome::Failed, &format!("--on-canary for worker {worker} {what}"));
    true
}

/// Handles overdue ACKs and checks, ends the roll-out if it is done, and stops surplus old workers.
pub(super) fn reconcile(turn: &mut Turn) {
    failures::fail_overdue_acks(turn);
    end_exhausted(turn);
    canary::judge_canary(turn);
    complete(turn);
    cull_old(turn);
    match turn.state.reexec {
        // A Ruby Einhorn would never tell the end.
        Some(Reexec { stage: Stage::HandingOver, .. }) => ending::finish(turn),
        _ => ending::finish_when_ready(turn),
    }
}

fn end_exhausted(turn: &mut Turn) {
    let Some(Rollout { began_at, .. }) = turn.state.rollout else { return };
    if let Some(why) = failures::too_many(turn.state) {
        return end(turn, Outcome::Failed, &why);
    }
    if let Some(limit) = turn.state.config.rollout.upgrade_timeout
        && began_at + limit <= turn.now.monotonic
    {
        let why = format!("the roll-out took longer than {}s", limit.as_secs_f64());
        end(turn, Outcome::TimedOut, &why);
    }
}

/// Completes the roll-out once the target number of new workers is up.
fn complete(turn: &mut Turn) {
    if complete_at(turn.state).is_none_or(|at| at > turn.now.monotonic) {
        return;
    }
    let generation = turn.state.generation.0;
    let release = release(turn.state, turn.state.generation);
    announce(turn, &format!("Upgraded successfully to generation {generation}{release}"));
    let failure_count = turn.state.rollout.as_ref().map_or(0, |rollout| rollout.failure_count);
    if let Some(ended) = close(turn) {
        let serving = turn.state.generation;
        turn.state.deployments.retain(|generation, _| *generation == serving);
        ending::begin(turn, ended, failure_count);
    }
}

/// When the target number of new workers is up. In a fleet upgrade they must have been up for
/// `--canary-seconds`, because the old workers are all stopped at once.
fn complete_at(state: &State) -> Option<Monotonic> {
    let rollout = state.rollout.as_ref().filter(|rollout| !rollout.is_canary())?;
    let staying = state.current_workers().filter(|(_, worker)| worker.is_serving());
    let mut up_since: Vec<Monotonic> = staying.filter_map(|(_, worker)| worker.acked_at).collect();
    up_since.sort_unstable();
    let last = *up_since.get(target(state).checked_sub(1)?)?;
    Some(match rollout.kind {
        RolloutKind::Smooth => last,
        RolloutKind::Fleet => last + state.config.rollout.canary,
    })
}

/// Ends a roll-out without success: the previous generation becomes the current one again.
pub(super) fn end(turn: &mut Turn, outcome: Outcome, why: &str) {
    let numbers = status::numbers(turn.state, turn.now);
    let Some(from) = turn.state.rollout.as_ref().map(|rollout| rollout.from) else { return };
    let Some(ended) = close(turn) else { return };
    let state = &mut *turn.state;
    state.generation = from;
    state.deployments.retain(|generation, _| *generation == from);
    state.cold_start_count = 0;
    // The streak belonged to the new code.
    state.early_death_count = 0;
    let how = match outcome {
        Outcome::TimedOut => "timed out",
        Outcome::Aborted => "aborted",
        _ => "failed",
    };
    let (up, target) = (state.current_capacity(), state.config.target);
    let release = release(state, from);
    let then = match up < target {
        true => format!(
            "generation {}{release} is being restored: {up} of its {target} workers were up, and \
             {} workers were serving",
            from.0,
            state.capacity()
        ),
        false => format!("generation {}{release} is still serving", from.0),
    };
    let killed = ending::killed_phrase(&ended.killed).map(|killed| format!("; {killed}"));
    let message = format!("Upgrade {how}: {why}; {then}{}", killed.unwrap_or_default());
    // Failures are announced to waiting clients and logged as info; a log of errors only has none.
    let first = ended.failures.first().map(failures::describe);
    let first = first.map(|first| format!("; the first failure: {first}")).unwrap_or_default();
    turn.error(format!("{message}{first}"));
    let ended = EndedUpgrade { outcome, message, ..ended };
    waiters::finish_upgrade(turn, ended, numbers, waits_for_rollout);
}

/// Ends the roll-out because the master is stopping.
pub(super) fn abandon(turn: &mut Turn, answer: &Answer) {
    ending::finish(turn);
    let numbers = status::numbers(turn.state, turn.now);
    if let Some(ended) = close(turn) {
        let Answer { outcome, message } = answer.clone();
        let ended = EndedUpgrade { outcome, message, ..ended };
        waiters::finish_upgrade(turn, ended, numbers, waits_for_rollout);
    }
}

fn waits_for_rollout(waiter: &Waiter) -> bool {
    waiter.waits_for == WaitsFor::Rollout
}

/// Removes the roll-out from the state. Returns its record; the caller fills in the outcome and the
/// message.
fn close(turn: &mut Turn) -> Option<EndedUpgrade> {
    canary::cancel_check(turn);
    let rollout = turn.state.rollout.take()?;
    let directory = turn.state.directory_of(turn.state.generation).map(Path::to_path_buf);
    Some(EndedUpgrade {
        kind: match rollout.kind {
            RolloutKind::Smooth => UpgradeKind::Smooth,
            RolloutKind::Fleet => UpgradeKind::Fleet,
        },
        generation: turn.state.generation,
        directory,
        outcome: Outcome::Superseded,
        message: String::new(),
        took: turn.now.monotonic.since(rollout.asked_at),
        ended_on: turn.now.realtime,
        failures: rollout.failures,
        killed: rollout.killed,
        killed_later_count: 0,
    })
}

/// ` (DIRECTORY)` for a generation that has one, otherwise empty.
fn release(state: &State, generation: Generation) -> String {
    let directory = state.directory_of(generation);
    directory.map(|directory| format!(" ({})", directory.display())).unwrap_or_default()
}

/// The next deadline of the roll-out.
pub(super) fn deadline(state: &State) -> Option<Monotonic> {
    let rollout = state.rollout.as_ref()?;
    let bounds = &state.config.rollout;
    let timeout = bounds.upgrade_timeout.map(|limit| rollout.began_at + limit);
    let canary = match (rollout.stage, canary::canary(state)) {
        (RolloutStage::Canary { check: Some(check) }, _) => {
            (!check.is_overdue).then_some(check.deadline)
        }
        (RolloutStage::Canary { check: None }, Some((_, up_at))) => Some(up_at + bounds.canary),
        _ => None,
    };
    let overdue =
        state.current_workers().filter_map(|(_, worker)| failures::ack_overdue_at(state, worker));
    overdue.chain(timeout).chain(canary).chain(complete_at(state)).min()
}

/// Stops old workers that are no longer needed. Workers that are up stay until as many new ones are
/// up, so that the capacity never falls below the target. Workers of a superseded roll-out that are
/// not up are useless, and must not take the room of the next one.
fn cull_old(turn: &mut Turn) {
    let state = &*turn.state;
    let mut old: Vec<(Pid, &Worker)> = state.old_workers().collect();
    let from = state.rollout.as_ref().map(|rollout| rollout.from);
    let is_left_over = |worker: &Worker| !worker.is_acked() && Some(worker.generation) != from;
    let left_over_count = old.iter().filter(|(_, worker)| is_left_over(worker)).count();
    let others_count = old.len() - left_over_count;
    let surplus_count = match &state.rollout {
        // No old worker makes room for the canary, but those above the target are not needed.
        Some(rollout) if rollout.is_canary() => others_count.saturating_sub(target(state)),
        // A fleet that does not fit beside the old workers would wait forever; it comes in waves.
        Some(Rollout { kind: RolloutKind::Fleet, .. })
            if state.missing_count() <= state.room_for_additional() =>
        {
            0
        }
        _ => surplus(state, others_count),
    };
    let excess = left_over_count + surplus_count;
    if excess == 0 {
        return;
    }
    // Workers of the generation that a failure would restore are stopped last.
    old.sort_by_key(|(_, worker)| {
        let is_from = Some(worker.generation) == from;
        (!is_left_over(worker), worker.is_serving(), is_from, worker.slot)
    });
    let going: Vec<Pid> = old.iter().take(excess).map(|(pid, _)| *pid).collect();
    if going.is_empty() {
        return;
    }
    let is_upgrade = from.is_some() || turn.state.ending_upgrade.is_some();
    let whom = if is_upgrade { "old worker" } else { "unwanted worker" };
    let whom = counted(going.len(), whom);
    let signal = turn.state.config.stop_schedule().first();
    announce(turn, &format!("Sending {signal} to {whom}: {}", list(&going)));
    stop::request(turn, &going);
}

/// How many old workers are surplus: the excess of them and the new workers that are up over the
/// target. Old workers that are not up are stopped first, so capacity is never lost.
fn surplus(state: &State, old_count: usize) -> usize {
    (old_count + size(state.current_capacity())).saturating_sub(target(state))
}

fn target(state: &State) -> usize {
    size(state.config.target)
}
