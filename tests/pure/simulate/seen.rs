//! What a usual run must have seen: a simulation that never gets there proves nothing.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt::Debug;

use einhorn::decide::Action;
use einhorn::outcome::Outcome;
use einhorn::state::{
    FAILURES_KEPT, Pid, RolloutStage, Signal, Stage, State, Waiter, WaitsFor, Worker,
};

use super::step::{Step, has_canary, staying};

/// Events, or commands: what was done about them, and what was going on.
#[rustfmt::skip]
pub(super) const MUST_BE_SEEN: &[&str] = &[
    "Turn: Spawn", "Turn: Spawn after many deaths", "Turn: Spawn beside those who drain",
    "Turn: Signal to old", "Turn: Signal to current", "Turn: Signal to newer", "Turn: Kill",
    "Turn: overrun", "Turn: KillCheck", "Turn: KillPreflight", "Turn: StartPreflight",
    "Turn: Exit", "Turn: gives up", "Turn: full", "Turn: passed",
    "Turn: Smooth Done", "Turn: Smooth Failed", "Turn: Smooth TimedOut",
    "Turn: Fleet Done", "Turn: Fleet Failed", "Turn: Fleet TimedOut",
    "Adopted: Smooth Superseded", "Adopted: Fleet Superseded", "Adopted in canary",
    "Adopted in given up", "RolledBack in HandingOver", "HandOverFailed in Smooth",
    "abort: Smooth Aborted", "abort: Fleet Aborted", "abort: KillCheck", "abort: KillPreflight",
    "abort in HandingOver", "upgrade in HandingOver", "upgrade in Preflight", "reload in canary",
    "Exited: passed", "Exited: KillCheck", "Exited: Smooth Failed", "Exited in HandingOver",
    "CheckNotStarted: Smooth Failed", "CheckStarted: KillCheck", "SpawnFailed in canary",
    "PreflightEnded: HandOver", "PreflightEnded: HandBack",
    "PreflightStarted: KillPreflight", "Spawned in stopping", "Signaled: put off",
    "Signaled in given up", "Signaled in canary", "Signaled: KillPreflight", "die in Preflight",
    "wait: waits", "inc: waits", "die: waits", "set_workers in Smooth", "config in Fleet",
    "SpawnFailed: more failures than are told",
    "Adopted in HandingOver", "a fleet settled in calm",
    "Turn: next step", "Turn: retry", "SignalSent: recovers", "Turn: Cont", "Turn: LookAtGroups",
    "Exited: Signal", "config: Signal", "die: Signal", "die: next step", "Exited: left",
    "GroupSeen: answered", "Suspended in canary", "Continued in Smooth",
    "Suspended in stopping", "Turn: told Done late", "Turn: told Killed", "SignalSent: told Done",
    "upgrade: waits for drained", "wait: waits for drained", "Turn: drained",
    "Turn: leaves workers", "Turn: leaves leftovers", "Exited: looked at in vain",
];

/// Strikes out what a step shows.
pub(super) fn note(unseen: &mut BTreeSet<&str>, step: &Step) {
    if !unseen.is_empty() {
        let sights = sights(step);
        unseen.retain(|what| sights.iter().all(|sight| sight != what));
    }
}

fn sights(step: &Step) -> Vec<String> {
    let (before, after) = (step.before, step.after);
    let event = step.command().map_or_else(|| word(step.event), str::to_owned);
    let kind = before.rollout.as_ref().map(|rollout| rollout.kind);
    let starts = step.starts().next().is_some() && before.cold_start_count == 0;
    let most = after.config.max_upgrade_additional.map(|more| after.config.target + more);
    let failures = after.rollout.as_ref().map_or(0, |rollout| rollout.failure_count as usize);
    let newly: Vec<_> = step.newly(Worker::is_stopping).map(|(_, worker)| worker).collect();
    let going = |age| {
        let mut in_time = newly.iter().filter(|worker| !worker.missed_ack_deadline);
        in_time.any(|worker| worker.generation.cmp(&after.generation) == age)
    };
    let done = [
        (going(Ordering::Less), "Signal to old"),
        (going(Ordering::Equal), "Signal to current"),
        (going(Ordering::Greater), "Signal to newer"),
        (!step.sent(Signal::Kill).is_empty(), "Kill"),
        (newly.iter().any(|worker| worker.missed_ack_deadline), "overrun"),
        (starts && after.early_death_count > 8, "Spawn after many deaths"),
        (
            starts && after.current_workers().any(|(_, worker)| worker.is_stopping()),
            "Spawn beside those who drain",
        ),
        (after.rollout.is_some() && most == Some(staying(after)), "full"),
        (has_canary(before) && after.rollout.is_some() && !has_canary(after), "passed"),
        (before.stopping.is_none() && after.stopping.is_some(), "gives up"),
        (after.upgrade_due_at > before.upgrade_due_at, "put off"),
        (after.waiters.len() > before.waiters.len(), "waits"),
        (failures > FAILURES_KEPT, "more failures than are told"),
    ];
    let stage = before.reexec.map(|reexec| reexec.stage);
    let goes_on = [
        (stage == Some(Stage::HandingOver), "HandingOver"),
        (matches!(stage, Some(Stage::Preflight { .. })), "Preflight"),
        (has_canary(before), "canary"),
        (before.stopping.is_some(), "stopping"),
        (before.has_given_up(), "given up"),
    ];
    let stops = stops(step);
    let is = |(is, what): &(bool, &'static str)| is.then(|| (*what).to_owned());
    let ended = kind.zip(step.rollout_ended()).map(|(kind, how)| format!("{kind:?} {how:?}"));
    let done =
        done.iter().chain(&stops).filter_map(is).chain(step.actions.iter().map(word)).chain(ended);
    let goes_on = goes_on.iter().filter_map(is).chain(kind.map(|kind| format!("{kind:?}")));
    let during = goes_on.map(|what| format!("{event} in {what}"));
    during.chain(done.map(|what| format!("{event}: {what}"))).collect()
}

/// What is about stopping, and who waits for that.
fn stops(step: &Step) -> Vec<(bool, &'static str)> {
    let (before, after) = (step.before, step.after);
    let known = |pid: &Pid| before.stoppable(*pid).filter(|it| it.is_stopping());
    let fails =
        |worker: &Worker| worker.stop_signal.as_ref().is_some_and(|it| it.failure().is_some());
    let again =
        || step.signals().filter(|(_, signal)| !matches!(signal, Signal::Kill | Signal::Cont));
    let again: Vec<_> = again().filter_map(|(pid, _)| known(&pid)).collect();
    let drains = |state: &State| {
        let waits =
            |it: &&Waiter| matches!(it.waits_for, WaitsFor::Drained { .. }) || it.until_drained;
        state.waiters.iter().filter(waits).count()
    };
    let is_told = step.tells_the_end();
    let told = after.last_upgrade.as_ref().map(|last| last.outcome).filter(|_| is_told);
    let leaves = step.actions.iter().any(|action| matches!(action, Action::Exit { .. }));
    vec![
        (again.iter().any(|worker| !fails(worker)), "next step"),
        (again.iter().any(|worker| fails(worker)), "retry"),
        (
            before.stoppables().any(|(_, it)| fails(it))
                && !after.stoppables().any(|(_, it)| fails(it)),
            "recovers",
        ),
        (!step.sent(Signal::Cont).is_empty(), "Cont"),
        (after.leftovers.len() > before.leftovers.len(), "left"),
        (after.waiters.len() < before.waiters.len(), "answered"),
        (told == Some(Outcome::Done), "told Done"),
        (told == Some(Outcome::Done) && before.ending_upgrade.is_some(), "told Done late"),
        (told == Some(Outcome::Killed), "told Killed"),
        (drains(after) > drains(before), "waits for drained"),
        (drains(after) < drains(before), "drained"),
        (leaves && !after.workers.is_empty(), "leaves workers"),
        (leaves && !after.leftovers.is_empty(), "leaves leftovers"),
        (
            step.ended().is_none() && has_look(before) && has_canary(after) && !has_look(after),
            "looked at in vain",
        ),
    ]
}

/// Whether a command looks at a canary.
fn has_look(state: &State) -> bool {
    let stage = state.rollout.as_ref().map(|rollout| rollout.stage);
    matches!(stage, Some(RolloutStage::Canary { check: Some(_) }))
}

/// The name of a variant.
fn word(value: &impl Debug) -> String {
    let text = format!("{value:?}");
    text.split(' ').next().unwrap_or_default().to_owned()
}
