//! What must come of roll-outs: docs/decisions/0010-upgrades-that-end.md, written a second time.

use einhorn::outcome::Outcome;
use einhorn::state::{
    ExitStatus, FAILURES_TOLD, Pid, RolloutKind, RolloutStage, Signal, UpgradeKind,
};

use super::canary::{Canary, Check};
use super::due::{About, Due};
use super::ledger::{Entry, Ledger};
use super::upgrade::Ended;
use super::world::SECOND;

/// How long a worker whose ACK took too long may take to go, unless `--signal-timeout` is shorter.
pub(super) const OVERRUN_PATIENCE: u64 = 10 * SECOND;

/// How many failures end a roll-out of a small fleet.
const FAILURES_LEAST: u32 = 3;

/// New workers take over from old ones.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rollout {
    pub(super) kind: RolloutKind,
    /// Who serves until the new ones do.
    pub(super) from: u32,
    pub(super) asked_at: u64,
    pub(super) began_at: u64,
    /// `None` once it has passed, and for a fleet.
    pub(super) canary: Option<Canary>,
    pub(super) failure_count: u32,
    /// The first ones.
    pub(super) failures: Vec<Failed>,
}

/// A new worker that failed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Failed {
    /// `None` if it could not be started.
    pub(super) pid: Option<i32>,
    pub(super) slot: u32,
    pub(super) age: u64,
}

impl Failed {
    /// What the master knows of it.
    pub(super) fn of(known: &einhorn::state::Failure) -> Failed {
        Failed {
            pid: known.pid.map(|pid| pid.0),
            slot: known.slot.0,
            age: u64::try_from(known.age.as_nanos()).expect("a span fits"),
        }
    }
}

impl Rollout {
    /// One that begins.
    pub(super) fn new(kind: RolloutKind, from: u32, asked_at: u64, began_at: u64) -> Rollout {
        let canary = (kind == RolloutKind::Smooth).then(Canary::default);
        let failures = Vec::new();
        Rollout { kind, from, asked_at, began_at, canary, failure_count: 0, failures }
    }

    /// What the master knows of it.
    pub(super) fn of(known: &einhorn::state::Rollout) -> Rollout {
        let canary = match known.stage {
            RolloutStage::Replacing => None,
            RolloutStage::Canary { check } => Some(Canary {
                check: check.map(|check| Check {
                    worker: check.worker,
                    process: check.process,
                    until: check.deadline.0,
                    is_killed: check.is_overdue,
                }),
            }),
        };
        Rollout {
            kind: known.kind,
            from: known.from.0,
            asked_at: known.asked_at.0,
            began_at: known.began_at.0,
            canary,
            failure_count: known.failure_count,
            failures: known.failures.iter().map(Failed::of).collect(),
        }
    }

    pub(super) fn is_fleet(&self) -> bool {
        self.kind == RolloutKind::Fleet
    }

    /// The command that looks at the canary now, if one does.
    pub(super) fn check(&self) -> Option<&Check> {
        self.canary.as_ref()?.check.as_ref()
    }
}

impl Ledger {
    /// The next generation of all begins, and goes back to the one that served before.
    pub(super) fn begin_rollout(
        &mut self,
        now: u64,
        kind: RolloutKind,
        asked_at: u64,
        due: &mut Due,
    ) {
        let from = match self.upgrade.rollout.take() {
            None => self.generation,
            Some(superseded) => {
                self.saw("a roll-out that starts over");
                self.forget_check(&superseded, due);
                self.answer_superseded(&superseded, due);
                self.rollout_ended(now, &superseded, Outcome::Superseded);
                superseded.from
            }
        };
        if self.newest > self.generation {
            self.saw("a roll-out after one that failed");
        }
        self.newest += 1;
        self.generation = self.newest;
        self.upgrade.rollout = Some(Rollout::new(kind, from, asked_at, now));
        if let Some(retries) = self.settings.retries.filter(|_| self.has_given_up()) {
            self.streak = retries - 1;
        }
        self.first_count = if kind == RolloutKind::Fleet { self.settings.target } else { 0 };
        self.promise = Some(self.capacity());
    }

    /// A turn's share, but for who is told to go because others have come.
    pub(super) fn rollout_turn(&mut self, now: u64, due: &mut Due) {
        self.time_out_acks(now, due);
        let Some(rollout) = &self.upgrade.rollout else { return };
        let timeout = self.settings.upgrade_timeout;
        if rollout.failure_count >= self.failures_max() {
            self.saw("a roll-out with a failure too many");
            self.end_rollout(now, Outcome::Failed, due);
        } else if self.has_given_up() {
            self.saw("a roll-out with as many early deaths as may be");
            self.end_rollout(now, Outcome::Failed, due);
        } else if timeout.is_some_and(|timeout| rollout.began_at + timeout <= now) {
            self.saw("a roll-out that took too long");
            self.end_rollout(now, Outcome::TimedOut, due);
        }
        self.watch_canary(now, due);
        let Some(Rollout { canary: None, kind, .. }) = self.upgrade.rollout else { return };
        if self.serves_since(now) {
            self.saw(match kind {
                RolloutKind::Smooth => "a smooth roll-out complete",
                RolloutKind::Fleet => "a fleet roll-out complete",
            });
            self.end_rollout(now, Outcome::Done, due);
        }
    }

    /// Whether as many new workers serve as are wanted; those of a fleet, for which all old ones go
    /// at once, for as long as a canary would have to.
    fn serves_since(&self, now: u64) -> bool {
        self.served_at().is_some_and(|at| at <= now)
    }

    fn served_at(&self) -> Option<u64> {
        let Some(Rollout { canary: None, kind, .. }) = self.upgrade.rollout else { return None };
        let serving = self.current().filter(|(_, worker)| worker.told_at.is_none());
        let mut since: Vec<u64> = serving.filter_map(|(_, worker)| worker.acked_at).collect();
        since.sort_unstable();
        let last = since.into_iter().nth(self.settings.target as usize - 1)?;
        let patience = if kind == RolloutKind::Fleet { self.settings.canary } else { 0 };
        Some(last + patience)
    }

    /// The roll-out is over. If it did not go well, those who served before serve again, and what
    /// was the fault of the new code is forgotten.
    pub(super) fn end_rollout(&mut self, now: u64, outcome: Outcome, due: &mut Due) {
        let Some(rollout) = self.upgrade.rollout.take() else { return };
        self.forget_check(&rollout, due);
        self.answer_rollout(&rollout, outcome, due);
        self.rollout_ended(now, &rollout, outcome);
        if outcome == Outcome::Done {
            return;
        }
        if rollout.canary.is_some() {
            self.saw("a roll-out that ends with its canary");
        } else if self.serving_new() > 0 {
            self.saw("a roll-out that ends though some of it serve");
        }
        self.generation = rollout.from;
        self.streak = 0;
        self.first_count = 0;
    }

    /// The roll-out is what is told of as the last one.
    pub(super) fn rollout_ended(&mut self, now: u64, rollout: &Rollout, outcome: Outcome) {
        let kind = match rollout.kind {
            RolloutKind::Smooth => UpgradeKind::Smooth,
            RolloutKind::Fleet => UpgradeKind::Fleet,
        };
        let (generation, took) = (self.generation, now - rollout.asked_at);
        let failures = rollout.failures.clone();
        self.upgrade.last = Some(Ended { kind, generation, outcome, took, failures });
    }

    /// What is said of a roll-out in the end.
    pub(super) fn about(&self, rollout: &Rollout) -> About {
        let failures = rollout.failures.iter().map(|failed| (failed.pid, failed.slot));
        About {
            generation: self.generation,
            failure_count: rollout.failure_count,
            failures: failures.collect(),
        }
    }

    /// The failure that ends a roll-out.
    pub(super) fn failures_max(&self) -> u32 {
        let tenth = if self.has_canary() { 0 } else { self.settings.target.div_ceil(10) };
        self.settings.failures_max.unwrap_or_else(|| tenth.max(FAILURES_LEAST))
    }

    /// One more worker of the roll-out has failed.
    pub(super) fn failed(&mut self, pid: Option<Pid>, slot: u32, age: u64) {
        let Some(rollout) = &mut self.upgrade.rollout else { return };
        rollout.failure_count += 1;
        if rollout.failures.len() < FAILURES_TOLD {
            rollout.failures.push(Failed { pid: pid.map(|pid| pid.0), slot, age });
        } else {
            self.saw("more failures than are told");
        }
    }

    /// One could not be started.
    pub(super) fn rollout_start_failed(&mut self, generation: u32, slot: u32) {
        if self.is_new(generation) {
            self.saw("a start that failed in a roll-out");
            self.failed(None, slot, 0);
        }
    }

    /// A worker has ended, and nobody had told it to.
    pub(super) fn rollout_death(
        &mut self,
        now: u64,
        pid: Pid,
        worker: &Entry,
        was_up: bool,
        status: ExitStatus,
    ) {
        if self.upgrade.rollout.is_none() {
            return;
        }
        if !self.is_new(worker.generation) {
            return self.saw(match self.has_canary() {
                true => "an old worker that dies beside the canary",
                false => "an old worker that dies in a roll-out",
            });
        }
        let has_served = worker.acked_at.is_some_and(|at| now - at >= self.settings.interval);
        let exits = was_up && status == ExitStatus::Code(0) && !self.has_canary();
        let recycles = exits && has_served;
        self.saw(match was_up {
            _ if recycles => "a new worker that recycles itself",
            _ if exits => "a new worker that leaves as soon as it is up",
            true if self.has_canary() => "a canary that dies after its ACK",
            true => "a late death in a roll-out",
            false => "an early death in a roll-out",
        });
        if !recycles {
            self.failed(Some(pid), worker.slot, now - worker.started_at);
        }
    }

    /// Whose ACK takes too long in a roll-out is told to go: it counts as an early death.
    pub(super) fn time_out_acks(&mut self, now: u64, due: &mut Due) {
        let late = |worker: &Entry| self.ack_timeout_at(worker).is_some_and(|at| at <= now);
        let late: Vec<Pid> =
            self.workers.iter().filter(|(_, w)| late(w)).map(|(pid, _)| *pid).collect();
        for pid in late {
            let Some(worker) = self.workers.get_mut(&pid) else { continue };
            worker.has_overrun = true;
            let (slot, age) = (worker.slot, now - worker.started_at);
            self.told(now, pid, Signal::Usr2);
            due.overrun.insert(pid);
            due.is_told = true;
            self.streak += 1;
            self.failed(Some(pid), slot, age);
            self.saw(match self.has_canary() {
                true => "a canary whose ACK took too long",
                false => "an ACK that took too long",
            });
        }
    }

    pub(super) fn ack_timeout_at(&self, worker: &Entry) -> Option<u64> {
        let waits = worker.acked_at.is_none() && worker.told_at.is_none();
        let counts = waits && self.settings.ack_after.is_none() && self.is_new(worker.generation);
        counts.then(|| Some(worker.started_at + self.settings.ack_timeout?)).flatten()
    }

    /// The instants at which a roll-out has something to do.
    pub(super) fn rollout_deadlines(&self) -> Vec<u64> {
        let Some(rollout) = &self.upgrade.rollout else { return Vec::new() };
        let mut due: Vec<u64> =
            self.workers.values().filter_map(|worker| self.ack_timeout_at(worker)).collect();
        due.extend(self.settings.upgrade_timeout.map(|timeout| rollout.began_at + timeout));
        if let Some(canary) = &rollout.canary {
            match &canary.check {
                Some(check) => due.extend((!check.is_killed).then_some(check.until)),
                None => due.extend(self.canary_passes_at().map(|(_, at)| at)),
            }
        }
        due.extend(self.served_at());
        due
    }

    /// Whether workers of this generation are those of the roll-out under way.
    pub(super) fn is_new(&self, generation: u32) -> bool {
        self.upgrade.rollout.is_some() && generation == self.generation
    }

    /// Whether workers of this generation may be started now, so that their early deaths count.
    pub(super) fn is_started(&self, generation: u32) -> bool {
        let from = self.upgrade.rollout.as_ref().map(|rollout| rollout.from);
        generation == self.generation || (self.has_canary() && Some(generation) == from)
    }
}
