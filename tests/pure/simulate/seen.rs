//! What a usual run must have seen: a simulation that never gets there proves nothing.

use std::collections::BTreeSet;
use std::fmt::Debug;

use einhorn::decide::Action;
use einhorn::state::{FAILURES_KEPT, Stage};

use super::step::{Step, has_canary, is_going, staying};

/// Events, or commands: what was done about them, and what was going on.
#[rustfmt::skip]
const MUST_BE_SEEN: &[&str] = &[
    "Turn: Spawn", "Turn: Spawn after many deaths", "Turn: Spawn beside those who drain",
    "Turn: Signal to old", "Turn: Signal to current", "Turn: Signal to newer", "Turn: Kill",
    "Turn: overrun", "Turn: KillCheck", "Turn: KillPreflight", "Turn: StartPreflight",
    "Turn: Exit { code: 0 }", "Turn: Exit { code: 1 }", "Turn: full", "Turn: passed",
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
];

/// What is still to be seen.
pub(super) struct Unseen(BTreeSet<String>);

impl Unseen {
    /// These, and what single steps show.
    pub(super) fn new(others: &[&str]) -> Unseen {
        Unseen(MUST_BE_SEEN.iter().chain(others).map(|what| (*what).to_owned()).collect())
    }

    pub(super) fn note(&mut self, step: &Step) {
        if !self.0.is_empty() {
            sights(step).iter().for_each(|what| self.saw(what));
        }
    }

    pub(super) fn saw(&mut self, what: &str) {
        self.0.remove(what);
    }

    /// # Errors
    /// Something was not seen.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.0.is_empty() { Ok(()) } else { Err(format!("never seen: {:#?}", self.0)) }
    }
}

fn sights(step: &Step) -> Vec<String> {
    let (before, after) = (step.before, step.after);
    let event = step.command().map_or_else(|| word(step.event), str::to_owned);
    let kind = before.rollout.as_ref().map(|rollout| rollout.kind);
    let mut done: Vec<String> = step.actions.iter().map(word).collect();
    done.extend(step.actions.iter().filter_map(|action| match action {
        Action::Exit { .. } => Some(format!("{action:?}")),
        _ => None,
    }));
    done.extend(
        kind.zip(step.rollout_ended()).map(|(kind, outcome)| format!("{kind:?} {outcome:?}")),
    );
    for (_, worker) in step.newly(is_going).filter(|(_, worker)| !worker.missed_ack_deadline) {
        let whom = ["current", "newer", "old"];
        let index = worker.generation.cmp(&after.generation) as i8;
        done.push(format!("Signal to {}", whom[index.rem_euclid(3) as usize]));
    }
    let mut also = |is_it: bool, what: &str| done.extend(is_it.then(|| what.to_owned()));
    let starts = step.starts().next().is_some() && before.cold_start_count == 0;
    let most = after.config.max_upgrade_additional.map(|more| after.config.target + more);
    also(starts && after.early_death_count > 8, "Spawn after many deaths");
    also(
        starts && after.current_workers().any(|(_, w)| is_going(w)),
        "Spawn beside those who drain",
    );
    also(step.signals().any(|(_, signal)| signal == einhorn::state::Signal::Kill), "Kill");
    also(step.newly(|worker| worker.missed_ack_deadline).next().is_some(), "overrun");
    also(after.rollout.is_some() && most == Some(staying(after)), "full");
    also(has_canary(before) && after.rollout.is_some() && !has_canary(after), "passed");
    also(after.upgrade_due_at > before.upgrade_due_at, "put off");
    also(after.waiters.len() > before.waiters.len(), "waits");
    let failures = after.rollout.as_ref().map_or(0, |rollout| rollout.failure_count as usize);
    also(failures > FAILURES_KEPT, "more failures than are told");
    let goes_on = [
        kind.map(|kind| format!("{kind:?}")),
        before.reexec.map(|reexec| match reexec.stage {
            Stage::HandingOver => "HandingOver".to_owned(),
            Stage::Preflight { .. } => "Preflight".to_owned(),
        }),
        has_canary(before).then(|| "canary".to_owned()),
        before.stopping.is_some().then(|| "stopping".to_owned()),
        before.has_given_up().then(|| "given up".to_owned()),
    ];
    let during = goes_on.iter().flatten().map(|what| format!("{event} in {what}"));
    during.chain(done.iter().map(|what| format!("{event}: {what}"))).collect()
}

/// The name of a variant.
fn word(value: &impl Debug) -> String {
    let text = format!("{value:?}");
    text.split(' ').next().unwrap_or_default().to_owned()
}
