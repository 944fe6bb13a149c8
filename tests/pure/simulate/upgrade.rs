//! What must come of upgrades: behaviour.md sections 5 and 6 and docs/handover.md, written a second
//! time.

use einhorn::outcome::Outcome;
use einhorn::protocol::NewsStage;
use einhorn::state::{RolloutKind, State, UpgradeKind, WaitsFor};

use super::due::{Due, LastLine, Whom};
use super::ledger::Ledger;
use super::meaning::Verdict;
use super::rollout::{Failed, Rollout};
use super::waiting::{Waiting, only};
use super::world::SECOND;

/// How long a candidate has; less in the build that is for tests only.
const PREFLIGHT_MAX: u64 = if cfg!(feature = "next") { 5 } else { 30 } * SECOND;

/// How long after a re-exec SIGHUP is put off.
const PAUSE: u64 = SECOND;

/// The master's own step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Step {
    /// A candidate is asked until then.
    Asking { until: u64, is_killed: bool },
    /// It was found fit, and the hand-over ordered.
    HandingOver,
}

/// How far upgrades are.
#[derive(Default)]
pub(super) struct Upgrade {
    pub(super) step: Option<(UpgradeKind, Step)>,
    /// When that step was first asked for.
    asked_at: u64,
    /// Whether a Ruby Einhorn was asked for in that step.
    is_hand_back: bool,
    pub(super) rollout: Option<Rollout>,
    pub(super) waiting: Vec<Waiting>,
    /// When the master was last executed anew.
    pub(super) reexecuted_at: Option<u64>,
    /// When one begins that a signal asked for too soon.
    pub(super) due_at: Option<u64>,
    pub(super) reexec_count: u32,
    /// How the last one ended.
    pub(super) last: Option<Ended>,
}

/// How an upgrade ended.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ended {
    pub(super) kind: UpgradeKind,
    pub(super) generation: u32,
    pub(super) outcome: Outcome,
    /// How long after it was asked for.
    pub(super) took: u64,
    pub(super) failures: Vec<Failed>,
}

impl Ended {
    /// What the master knows of it.
    fn of(known: &einhorn::state::EndedUpgrade) -> Ended {
        Ended {
            kind: known.kind,
            generation: known.generation.0,
            outcome: known.outcome,
            took: u64::try_from(known.took.as_nanos()).expect("a span fits"),
            failures: known.failures.iter().map(Failed::of).collect(),
        }
    }
}

impl Upgrade {
    /// Who waits for a last line.
    pub(super) fn open(&self) -> Vec<Whom> {
        self.waiting.iter().map(|waiting| waiting.whom.clone()).collect()
    }

    /// What those who wait may be told is being done: of a roll-out, also the step that is to take
    /// its place.
    pub(super) fn stages(&self) -> Vec<(Whom, NewsStage)> {
        let step = match self.step {
            Some((_, Step::HandingOver)) => NewsStage::HandingOver,
            Some((_, Step::Asking { .. })) | None => NewsStage::Preflight,
        };
        let rollout = match &self.rollout {
            Some(Rollout { canary: Some(_), .. }) => NewsStage::Canary,
            _ => NewsStage::Rollout,
        };
        let stages = |waiting: &Waiting| match waiting.awaits {
            WaitsFor::Settled => vec![NewsStage::Settling],
            WaitsFor::Exit => vec![NewsStage::Stopping],
            // One that was put off may begin in the very turn in which the roll-out goes on.
            WaitsFor::Rollout if self.step.is_some() || self.due_at.is_some() => {
                vec![rollout, step]
            }
            WaitsFor::Rollout => vec![rollout],
            WaitsFor::Reexec | WaitsFor::Upgrade => vec![step],
        };
        let told = |waiting: &Waiting| {
            let whom = waiting.whom.clone();
            stages(waiting).into_iter().map(move |stage| (whom.clone(), stage))
        };
        self.waiting.iter().flat_map(told).collect()
    }

    /// The instants at which the master's own step has something to do.
    pub(super) fn deadlines(&self) -> impl Iterator<Item = u64> {
        let preflight = match self.step {
            Some((_, Step::Asking { until, is_killed: false, .. })) => Some(until),
            _ => None,
        };
        preflight.into_iter().chain(self.due_at)
    }

    /// Whether the state is to be handed over.
    pub(super) fn is_handing_over(&self) -> bool {
        matches!(self.step, Some((_, Step::HandingOver)))
    }

    /// Whether nothing of an upgrade is left to do or to say.
    pub(super) fn is_over(&self) -> bool {
        let is_due = self.step.is_some() || self.rollout.is_some() || self.due_at.is_some();
        !is_due && self.waiting.is_empty()
    }

    /// Whether the master knows the same.
    pub(super) fn agrees(&self, state: &State) -> Result<(), String> {
        use einhorn::state::Stage;
        let step = state.reexec.map(|reexec| {
            let step = match reexec.stage {
                Stage::HandingOver => Step::HandingOver,
                Stage::Preflight { deadline, is_overdue, .. } => {
                    Step::Asking { until: deadline.0, is_killed: is_overdue }
                }
            };
            (reexec.kind, step, reexec.asked_at.0, reexec.is_hand_back)
        });
        let due = self.step.map(|(kind, step)| (kind, step, self.asked_at, self.is_hand_back));
        same("the master's own step", &step, &due)?;
        let waiting = state.waiters.iter().map(|w| {
            let (connection, id) = (w.connection, w.request_id.clone());
            (Whom { connection, id, wants_events: w.wants_events }, w.waits_for)
        });
        let due: Vec<_> = self.waiting.iter().map(|w| (w.whom.clone(), w.awaits)).collect();
        same("who waits for what", &waiting.collect(), &due)?;
        let rollout = state.rollout.as_ref().map(Rollout::of);
        same("the roll-out", &rollout, &self.rollout)?;
        let due_at = state.upgrade_due_at.map(|at| at.0);
        same("when an upgrade begins that was put off", &due_at, &self.due_at)?;
        let last = state.last_upgrade.as_ref().map(Ended::of);
        same("how the last upgrade ended", &last, &self.last)?;
        let reexecs = (state.reexec_count, state.reexecuted_at.map(|at| at.0));
        same("the last re-exec", &reexecs, &(self.reexec_count, self.reexecuted_at))
    }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, due: &T) -> Result<(), String> {
    match found == due {
        true => Ok(()),
        false => Err(format!("{what}: found {found:?}, due {due:?}")),
    }
}

impl Ledger {
    /// SIGHUP: a smooth upgrade; put off for a moment after a re-exec.
    pub(super) fn hung_up(&mut self, now: u64, due: &mut Due) {
        if self.stop_code.is_some() {
            return;
        }
        let pause_ends = self.upgrade.reexecuted_at.map_or(0, |at| at + PAUSE);
        if self.upgrade.step.is_none() && now < pause_ends {
            self.saw(match self.upgrade.due_at {
                None => "a HUP put off",
                Some(_) => "another HUP that joins one put off",
            });
            self.upgrade.due_at.get_or_insert(pause_ends);
            return;
        }
        self.begin(now, UpgradeKind::Smooth, due);
    }

    /// A client asks. It hears how it goes on, and then how it ended.
    pub(super) fn asked(&mut self, now: u64, asked: UpgradeKind, whom: Whom, due: &mut Due) {
        if self.stop_code.is_some() {
            return due.replies.push(LastLine::plain(whom, only(Outcome::Refused)));
        }
        let awaits = match asked {
            UpgradeKind::Reload => WaitsFor::Reexec,
            UpgradeKind::Smooth | UpgradeKind::Fleet => WaitsFor::Upgrade,
        };
        self.waits(whom, awaits, due);
        self.begin(now, asked, due);
    }

    /// The same, and a Ruby Einhorn is to go on: one that is asked for joins no other.
    pub(super) fn asked_back(&mut self, now: u64, asked: UpgradeKind, whom: Whom, due: &mut Due) {
        if self.upgrade.step.is_some() && !self.upgrade.is_hand_back && self.stop_code.is_none() {
            self.saw("a hand-back that comes in the way");
            return due.replies.push(LastLine::plain(whom, only(Outcome::Refused)));
        }
        if self.uses_features() && self.stop_code.is_none() {
            self.saw("a hand-back of what no Ruby Einhorn can hold");
            return due.replies.push(LastLine::plain(whom, only(Outcome::Refused)));
        }
        let begins = self.upgrade.step.is_none();
        self.asked(now, asked, whom, due);
        self.upgrade.is_hand_back |= begins && self.stop_code.is_none();
    }

    fn begin(&mut self, now: u64, kind: UpgradeKind, due: &mut Due) {
        if let Some((joined, step)) = &mut self.upgrade.step {
            let (before, is_asking) = (*joined, matches!(step, Step::Asking { .. }));
            // The last word counts, but a roll-out stays a roll-out.
            if kind != UpgradeKind::Reload {
                *joined = kind;
            }
            self.saw(match is_asking {
                true => "a request that joins one",
                false => "a request that joins at the last moment",
            });
            let becomes_one = before == UpgradeKind::Reload && kind != UpgradeKind::Reload;
            if becomes_one && !self.upgrade.is_hand_back {
                self.saw("a reload that becomes a roll-out");
                due.is_told = true;
                due.kill_count += usize::from(is_asking);
                self.ask(now, kind, due);
            }
            return;
        }
        let put_off = self.upgrade.due_at.take().is_some();
        if put_off && kind == UpgradeKind::Reload {
            self.saw("a reload that takes a HUP along");
        }
        let is_smooth = put_off && kind == UpgradeKind::Reload;
        let kind = if is_smooth { UpgradeKind::Smooth } else { kind };
        self.upgrade.is_hand_back = false;
        self.upgrade.asked_at = now;
        self.ask(now, kind, due);
    }

    fn ask(&mut self, now: u64, kind: UpgradeKind, due: &mut Due) {
        let until = now + PREFLIGHT_MAX;
        self.upgrade.step = Some((kind, Step::Asking { until, is_killed: false }));
        due.preflight_count += 1;
    }

    /// The candidate runs; nobody wants it any more if the master stops.
    pub(super) fn candidate_runs(&mut self, due: &mut Due) {
        match self.upgrade.step {
            Some(_) => due.is_told = true,
            None => {
                self.saw("a candidate that runs after the stop");
                due.kill_count += 1;
            }
        }
    }

    /// The candidate has ended, and this is what to think of it.
    pub(super) fn candidate_ended(&mut self, now: u64, verdict: Verdict, due: &mut Due) {
        let Some((kind, step)) = self.upgrade.step else { return };
        let Step::Asking { is_killed, .. } = step else {
            panic!("a candidate ended that was found fit before");
        };
        let is_hand_back = self.upgrade.is_hand_back;
        match verdict {
            Verdict::Ruby if is_hand_back && !is_killed => {
                self.upgrade.step = Some((kind, Step::HandingOver));
                due.hand_back_count += 1;
                due.is_told = true;
            }
            Verdict::Fit if !is_killed && !is_hand_back => {
                self.upgrade.step = Some((kind, Step::HandingOver));
                due.handover_count += 1;
                due.is_told = true;
            }
            _ => {
                if is_killed {
                    self.saw("a candidate that took too long");
                }
                self.not_upgraded(now, Outcome::Refused, due);
            }
        }
    }

    /// The master's own step failed: whoever asked for it has it in writing, and those who wait for
    /// an earlier roll-out hear of it.
    pub(super) fn not_upgraded(&mut self, now: u64, outcome: Outcome, due: &mut Due) {
        self.step_ended(now, outcome);
        if self.upgrade.rollout.is_some() {
            self.saw("a failure while a roll-out goes on");
        }
        self.answer_step(outcome, due);
        due.is_told = true;
    }

    /// The master's own step is over, and no roll-out follows.
    fn step_ended(&mut self, now: u64, outcome: Outcome) {
        let Some((kind, _)) = self.upgrade.step.take() else { return };
        let (generation, took) = (self.generation, now - self.upgrade.asked_at);
        let failures = Vec::new();
        self.upgrade.last = Some(Ended { kind, generation, outcome, took, failures });
    }

    /// The next image goes on with the state.
    pub(super) fn adopted(&mut self, now: u64, due: &mut Due) {
        let (kind, _) = self.upgrade.step.expect("only what was ordered is done");
        self.upgrade.reexec_count += 1;
        self.upgrade.reexecuted_at = Some(now);
        if self.streak > 0 {
            self.saw("a streak carried over an upgrade");
        }
        due.is_told = true;
        let rollout = match kind {
            UpgradeKind::Reload => None,
            UpgradeKind::Smooth => Some(RolloutKind::Smooth),
            UpgradeKind::Fleet => Some(RolloutKind::Fleet),
        };
        if rollout.is_none() && self.has_canary() {
            self.saw("a reload beside a canary");
        }
        match rollout {
            None => {
                self.saw("a reload");
                self.step_ended(now, Outcome::Done);
            }
            Some(kind) => {
                self.upgrade.step = None;
                self.begin_rollout(now, kind, self.upgrade.asked_at, due);
            }
        }
        self.answer_reload(due);
    }

    /// Whether there is anything that a Ruby Einhorn has no words for and must not miss.
    pub(super) fn uses_features(&self) -> bool {
        let settings = &self.settings;
        let bounds = (settings.ack_timeout, settings.upgrade_timeout, settings.failures_max);
        let canary = (settings.canary, settings.has_check, settings.check_timeout);
        let started = self.workers.values().map(|worker| worker.generation);
        let newest = started.chain(self.ordered.values().copied()).max();
        bounds != (Some(120 * SECOND), None, None)
            || canary != (0, false, 60 * SECOND)
            || newest.is_some_and(|newest| newest > self.generation)
    }

    /// The image before goes on: as if the exec had failed, but HUPs are put off.
    pub(super) fn rolled_back(&mut self, now: u64, due: &mut Due) {
        self.upgrade.reexecuted_at = Some(now);
        self.not_upgraded(now, Outcome::RolledBack, due);
    }

    /// `abort`: whatever is under way ends now.
    pub(super) fn aborted(&mut self, now: u64, whom: Whom, due: &mut Due) {
        let is_idle = self.upgrade.step.is_none()
            && self.upgrade.rollout.is_none()
            && self.upgrade.due_at.is_none();
        if is_idle {
            return due.replies.push(LastLine::plain(whom, only(Outcome::Refused)));
        }
        self.upgrade.due_at = None;
        match self.upgrade.step {
            Some((_, Step::Asking { .. })) => {
                self.saw("a candidate that is asked until `abort`");
                due.kill_count += 1;
            }
            Some((_, Step::HandingOver)) => self.saw("an `abort` just before the hand-over"),
            None => {}
        }
        self.step_ended(now, Outcome::Aborted);
        self.answer_step(Outcome::Aborted, due);
        if self.upgrade.rollout.is_some() {
            self.saw("a roll-out that is aborted");
            self.end_rollout(now, Outcome::Aborted, due);
        }
        due.replies.push(LastLine::plain(whom, only(Outcome::Done)));
    }

    /// The master stops: nothing of an upgrade goes on, and everyone who waits is told.
    pub(super) fn abandon(&mut self, now: u64, due: &mut Due) {
        match self.upgrade.step {
            Some((_, Step::Asking { .. })) => {
                self.saw("a stop while a candidate is asked");
                due.kill_count += 1;
            }
            Some((_, Step::HandingOver)) => self.saw("a stop just before the hand-over"),
            None => {}
        }
        self.step_ended(now, Outcome::Aborted);
        if let Some(rollout) = self.upgrade.rollout.take() {
            if rollout.check().is_some() {
                self.saw("a stop while a canary is looked at");
            }
            self.forget_check(&rollout, due);
            self.rollout_ended(now, &rollout, Outcome::Aborted);
            self.saw("a stop in a roll-out");
        }
        self.upgrade.due_at = None;
        self.promise = None;
        self.answer_all(Outcome::Aborted, due);
    }

    /// A turn's share, but for the roll-out's.
    pub(super) fn step_turn(&mut self, now: u64, due: &mut Due) {
        if let Some((_, Step::Asking { until, is_killed: is_killed @ false, .. })) =
            &mut self.upgrade.step
            && *until <= now
        {
            *is_killed = true;
            due.kill_count += 1;
        }
        if self.upgrade.due_at.is_some_and(|at| at <= now) {
            self.saw("a HUP that was put off and begins");
            self.begin(now, UpgradeKind::Smooth, due);
        }
    }
}
