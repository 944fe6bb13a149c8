//! What must come of upgrades: behaviour.md sections 5 and 6 and docs/handover.md, written a second
//! time.

use einhorn::scalar::Scalar;
use einhorn::state::{
    ConnectionId, Pid, RolloutKind, SCHEMA_VERSIONS, State, UpgradeKind, WaitsFor,
};

use super::due::{Due, LastLine};
use super::ledger::{Entry, Ledger};
use super::meaning::Verdict;
use super::world::SECOND;

/// How long a candidate has; less in the build that is for tests only.
const PREFLIGHT_MAX: u64 = if cfg!(feature = "next") { 5 } else { 30 } * SECOND;

/// How long after a re-exec SIGHUP is put off.
const PAUSE: u64 = SECOND;

/// The master's own step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Step {
    /// A candidate is asked, in a schema version, until then.
    Asking { schema: u16, until: u64, is_killed: bool },
    /// It was found fit, and the hand-over ordered.
    HandingOver,
}

/// A client that is owed a last line.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    connection: ConnectionId,
    id: Option<Scalar>,
    asked: UpgradeKind,
    /// Whether the master's own step that it asked for is done.
    has_stepped: bool,
}

/// How far upgrades are.
#[derive(Default)]
pub(super) struct Upgrade {
    pub(super) step: Option<(UpgradeKind, Step)>,
    /// Whether a Ruby Einhorn was asked for in that step.
    is_hand_back: bool,
    pub(super) rollout: Option<RolloutKind>,
    pub(super) waiting: Vec<Waiting>,
    /// When the master was last executed anew.
    pub(super) reexecuted_at: Option<u64>,
    /// When one begins that a signal asked for too soon.
    pub(super) due_at: Option<u64>,
    pub(super) reexec_count: u32,
    /// How many served when the roll-out began, less what the target and deaths took since.
    promise: Option<u32>,
}

impl Upgrade {
    /// Who waits for a last line, by connection and id.
    pub(super) fn open(&self) -> Vec<(ConnectionId, Option<Scalar>)> {
        self.waiting.iter().map(|waiting| (waiting.connection, waiting.id.clone())).collect()
    }

    /// The instants at which an upgrade has something to do.
    pub(super) fn deadlines(&self) -> impl Iterator<Item = u64> {
        let preflight = match self.step {
            Some((_, Step::Asking { until, is_killed: false, .. })) => Some(until),
            _ => None,
        };
        preflight.into_iter().chain(self.due_at)
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
                Stage::Preflight { schema, deadline, is_overdue, .. } => {
                    Step::Asking { schema, until: deadline.0, is_killed: is_overdue }
                }
            };
            (reexec.kind, step)
        });
        let is_hand_back = state.reexec.map(|reexec| reexec.is_hand_back);
        if is_hand_back != self.step.map(|_| self.is_hand_back) {
            return Err(format!("to a Ruby Einhorn: {is_hand_back:?}"));
        }
        let waiting: Vec<_> = state.waiters.iter().map(|w| (w.connection, w.waits_for)).collect();
        let due: Vec<_> = self.waiting.iter().map(|w| (w.connection, w.waits_for())).collect();
        let rollout = state.rollout.as_ref().map(|rollout| rollout.kind);
        let found = (step, rollout, state.upgrade_due_at.map(|at| at.0), waiting);
        let due = (self.step, self.rollout, self.due_at, due);
        let (reexecs, at) = (state.reexec_count, state.reexecuted_at.map(|at| at.0));
        let reexecs_due = (self.reexec_count, self.reexecuted_at);
        match found == due && (reexecs, at) == reexecs_due {
            true => Ok(()),
            false => Err(format!(
                "the upgrade: found {found:?}, {:?}, due {due:?}, {reexecs_due:?}",
                (reexecs, at)
            )),
        }
    }
}

impl Waiting {
    fn waits_for(&self) -> WaitsFor {
        match (self.asked, self.has_stepped) {
            (UpgradeKind::Reload, _) => WaitsFor::Reexec,
            (_, false) => WaitsFor::Upgrade,
            (_, true) => WaitsFor::Rollout,
        }
    }
}

/// The newest schema version that this release writes.
pub(super) fn newest_schema() -> u16 {
    SCHEMA_VERSIONS.iter().copied().max().expect("there is one")
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
    pub(super) fn asked(
        &mut self,
        now: u64,
        asked: UpgradeKind,
        connection: ConnectionId,
        id: Option<Scalar>,
        due: &mut Due,
    ) {
        if self.stop_code.is_some() {
            return due.replies.push(LastLine::plain(connection, id));
        }
        due.open.push((connection, id.clone()));
        due.asker = Some((connection, id.clone()));
        self.upgrade.waiting.push(Waiting { connection, id, asked, has_stepped: false });
        self.begin(now, asked, due);
    }

    /// The same, and a Ruby Einhorn is to go on: one that is asked for joins no other.
    pub(super) fn asked_back(
        &mut self,
        now: u64,
        asked: UpgradeKind,
        connection: ConnectionId,
        id: Option<Scalar>,
        due: &mut Due,
    ) {
        if self.upgrade.step.is_some() && !self.upgrade.is_hand_back && self.stop_code.is_none() {
            self.saw("a hand-back that comes in the way");
            return due.replies.push(LastLine::plain(connection, id));
        }
        let begins = self.upgrade.step.is_none();
        self.asked(now, asked, connection, id, due);
        self.upgrade.is_hand_back |= begins && self.stop_code.is_none();
    }

    fn begin(&mut self, now: u64, kind: UpgradeKind, due: &mut Due) {
        if let Some((joined, step)) = &mut self.upgrade.step {
            // The last word counts, but a roll-out stays a roll-out.
            if kind != UpgradeKind::Reload {
                *joined = kind;
            }
            let what = match step {
                Step::Asking { .. } => "a request that joins one",
                Step::HandingOver => "a request that joins at the last moment",
            };
            return self.saw(what);
        }
        let put_off = self.upgrade.due_at.take().is_some();
        if put_off && kind == UpgradeKind::Reload {
            self.saw("a reload that takes a HUP along");
        }
        let is_smooth = put_off && kind == UpgradeKind::Reload;
        let kind = if is_smooth { UpgradeKind::Smooth } else { kind };
        self.upgrade.is_hand_back = false;
        self.ask(now, kind, newest_schema(), due);
    }

    fn ask(&mut self, now: u64, kind: UpgradeKind, schema: u16, due: &mut Due) {
        let until = now + PREFLIGHT_MAX;
        self.upgrade.step = Some((kind, Step::Asking { schema, until, is_killed: false }));
        due.preflights.push(schema);
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
        let Step::Asking { schema, is_killed, .. } = step else {
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
                due.handovers.push(schema);
                due.is_told = true;
            }
            Verdict::Older(schema) if !is_killed && !is_hand_back => {
                self.ask(now, kind, schema, due)
            }
            _ => {
                if is_killed {
                    self.saw("a candidate that took too long");
                }
                self.not_upgraded(due);
            }
        }
    }

    /// The master's own step failed: whoever asked for it has it in writing, and those who wait for
    /// an earlier roll-out hear of it.
    pub(super) fn not_upgraded(&mut self, due: &mut Due) {
        self.upgrade.step = None;
        if self.upgrade.rollout.is_some() {
            self.saw("a failure while a roll-out goes on");
        }
        self.answer(due, false, |waiting| !waiting.has_stepped);
        due.is_told = true;
    }

    /// Gives everyone of a kind their last line.
    fn answer(&mut self, due: &mut Due, is_done: bool, whom: impl Fn(&Waiting) -> bool) {
        let (told, left) = std::mem::take(&mut self.upgrade.waiting).into_iter().partition(whom);
        self.upgrade.waiting = left;
        let told: Vec<Waiting> = told;
        due.replies.extend(told.into_iter().map(|waiting| match is_done {
            true => LastLine::done(waiting.connection, waiting.id),
            false => LastLine::failed(waiting.connection, waiting.id),
        }));
    }

    /// The same, at the death that was one too many; later ones change nothing.
    pub(super) fn stalled_at(&mut self, due: &mut Due) {
        if self.settings.retries == Some(self.streak) {
            self.stalled(due);
        }
    }

    /// As many attempts as may be have failed: nobody waits for the roll-out any more.
    pub(super) fn stalled(&mut self, due: &mut Due) {
        if self.upgrade.rollout.is_some() && self.has_given_up() {
            self.answer(due, false, |waiting| waiting.has_stepped);
            self.saw("a roll-out that stalls");
        }
    }

    /// A client is gone, and with it what it is owed.
    pub(super) fn hung_up_on(&mut self, connection: ConnectionId) {
        let waiting = self.upgrade.waiting.len();
        self.upgrade.waiting.retain(|waiting| waiting.connection != connection);
        if self.upgrade.waiting.len() < waiting {
            self.saw("a client that does not wait for the end");
        }
    }

    /// The next image goes on with the state.
    pub(super) fn adopted(&mut self, now: u64, due: &mut Due) {
        let (kind, _) = self.upgrade.step.take().expect("only what was ordered is done");
        self.upgrade.reexec_count += 1;
        self.upgrade.reexecuted_at = Some(now);
        if self.streak > 0 {
            self.saw("a streak carried over an upgrade");
        }
        self.answer(due, true, |waiting| waiting.asked == UpgradeKind::Reload);
        self.upgrade.waiting.iter_mut().for_each(|waiting| waiting.has_stepped = true);
        due.is_told = true;
        let rollout = match kind {
            UpgradeKind::Reload => return self.saw("a reload"),
            UpgradeKind::Smooth => RolloutKind::Smooth,
            UpgradeKind::Fleet => RolloutKind::Fleet,
        };
        if self.upgrade.rollout.replace(rollout).is_some() {
            self.saw("a roll-out that starts over");
        }
        self.generation += 1;
        if let Some(retries) = self.settings.retries.filter(|_| self.has_given_up()) {
            self.streak = retries - 1;
        }
        self.first_count = if rollout == RolloutKind::Fleet { self.settings.target } else { 0 };
        self.upgrade.promise = Some(self.capacity());
    }

    /// The image before goes on: as if the exec had failed, but HUPs are put off.
    pub(super) fn rolled_back(&mut self, now: u64, due: &mut Due) {
        self.upgrade.reexecuted_at = Some(now);
        self.not_upgraded(due);
    }

    /// The master stops: nothing of an upgrade goes on, and everyone who waits is told.
    pub(super) fn abandon(&mut self, due: &mut Due) {
        match self.upgrade.step.take() {
            Some((_, Step::Asking { .. })) => {
                self.saw("a stop while a candidate is asked");
                due.kill_count += 1;
            }
            Some((_, Step::HandingOver)) => self.saw("a stop just before the hand-over"),
            None => {}
        }
        if self.upgrade.rollout.take().is_some() {
            self.saw("a stop in a roll-out");
        }
        self.upgrade.due_at = None;
        self.upgrade.promise = None;
        self.answer(due, false, |_| true);
    }

    /// A turn's share, but for who is told to go.
    pub(super) fn upgrade_turn(&mut self, now: u64, due: &mut Due) {
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
        if self.upgrade.rollout.is_some() && self.serving_new() >= self.settings.target {
            let complete = match self.upgrade.rollout.take() {
                Some(RolloutKind::Smooth) => "a smooth roll-out complete",
                _ => "a fleet roll-out complete",
            };
            self.saw(complete);
            self.answer(due, true, |waiting| waiting.has_stepped);
        }
    }

    /// Which old workers are not needed any more: all of them once the new ones are up. Until then
    /// one goes for each that is up anew, those first that do not serve; but none that serves while
    /// fewer than the target would be left. A fleet waits for all, if all have room beside the old.
    pub(super) fn not_needed(&mut self) -> Vec<Pid> {
        let is_old = |worker: &Entry| worker.generation < self.generation;
        let staying = self.workers.iter().filter(|(_, w)| is_old(w) && w.told_at.is_none());
        let mut old: Vec<(bool, u32, Pid)> = staying.map(|(p, w)| (w.acked, w.slot, *p)).collect();
        old.sort_unstable();
        let waits = match self.upgrade.rollout {
            None => return old.into_iter().map(|(_, _, pid)| pid).collect(),
            Some(RolloutKind::Smooth) => false,
            Some(RolloutKind::Fleet) => self.room() >= u64::from(self.missing()),
        };
        let target = usize::try_from(self.settings.target).expect("a count fits");
        let new = usize::try_from(self.serving_new()).expect("a count fits");
        let mut left = old.len();
        let mut serving = old.iter().filter(|(acked, ..)| *acked).count();
        let mut going = Vec::new();
        for (is_serving, _, pid) in old {
            if waits || left + new <= target || (is_serving && serving + new <= target) {
                break;
            }
            left -= 1;
            serving -= usize::from(is_serving);
            self.saw(if is_serving {
                "an old worker goes"
            } else {
                "an old one goes that is not up"
            });
            going.push(pid);
        }
        if !going.is_empty() && self.upgrade.rollout == Some(RolloutKind::Fleet) {
            self.saw("a fleet that comes in waves");
        }
        going
    }

    /// How many more may be started beside those that stay.
    pub(super) fn room(&self) -> u64 {
        let (Some(_), Some(additional)) = (self.upgrade.rollout, self.settings.max_additional)
        else {
            return u64::MAX;
        };
        (u64::from(self.settings.target) + u64::from(additional)).saturating_sub(self.staying())
    }

    /// How many live or are ordered, and were not told to go.
    pub(super) fn staying(&self) -> u64 {
        let live = self.workers.values().filter(|worker| worker.told_at.is_none()).count();
        (live + self.ordered.len()) as u64
    }

    /// How many serve: up, and not told to go.
    pub(super) fn capacity(&self) -> u32 {
        let serves = |worker: &&Entry| worker.acked && worker.told_at.is_none();
        u32::try_from(self.workers.values().filter(serves).count()).expect("a count fits")
    }

    fn serving_new(&self) -> u32 {
        let serves = |worker: &Entry| worker.acked && worker.told_at.is_none();
        let new = self.current().filter(|(_, worker)| serves(worker)).count();
        u32::try_from(new).expect("a count fits")
    }

    /// Those who serve are never fewer than when the roll-out began, deaths aside, nor than the
    /// target, if that is lower.
    pub(super) fn keeps_its_promise(&mut self, is_turn: bool, died: bool) -> Result<(), String> {
        let (serving, target) = (self.capacity(), self.settings.target);
        let Some(promise) = &mut self.upgrade.promise else { return Ok(()) };
        if died {
            *promise = (*promise).min(serving);
        }
        let promised = (*promise).min(target);
        let kept = serving >= promised;
        if is_turn {
            *promise = promised;
        }
        if self.upgrade.rollout.is_none() {
            self.upgrade.promise = None;
        }
        match kept {
            true => Ok(()),
            false => Err(format!("{serving} serve in a roll-out that was to keep {promised}")),
        }
    }
}
