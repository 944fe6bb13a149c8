//! Clients that are owed a last line, and what it must be: docs/commands.md, written a second time.

use einhorn::outcome::Outcome;
use einhorn::state::{ConnectionId, UpgradeKind, WaitsFor};

use super::due::{About, Due, LastLine, Whom};
use super::ledger::Ledger;
use super::rollout::Rollout;

/// A client that is owed a last line.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) whom: Whom,
    pub(super) awaits: WaitsFor,
}

impl Ledger {
    /// Somebody waits from now on, and is told so.
    pub(super) fn waits(&mut self, whom: Whom, awaits: WaitsFor, due: &mut Due) {
        due.open.push(whom.clone());
        due.asker = Some(whom.clone());
        if whom.wants_events {
            self.saw("a client that wants events");
        }
        self.upgrade.waiting.push(Waiting { whom, awaits });
        due.stages.extend(self.upgrade.stages().pop());
    }

    /// `wait`: what goes on is told to one more.
    pub(super) fn attached(&mut self, whom: Whom, due: &mut Due) {
        let is_reload = matches!(self.upgrade.step, Some((UpgradeKind::Reload, _)));
        let awaits = match (&self.upgrade.rollout, self.upgrade.step) {
            (_, Some(_)) if !is_reload => WaitsFor::Upgrade,
            (Some(_), _) => WaitsFor::Rollout,
            (None, Some(_)) => WaitsFor::Reexec,
            (None, None) if self.upgrade.due_at.is_some() => WaitsFor::Upgrade,
            (None, None) => {
                let outcome = self.upgrade.last.as_ref().map_or(Outcome::Done, |last| last.outcome);
                self.saw("nothing to wait for");
                return due.replies.push(LastLine::plain(whom, only(outcome)));
            }
        };
        self.saw("a client that attaches");
        self.waits(whom, awaits, due);
    }

    /// The master's own step is over for those who asked for it.
    pub(super) fn answer_step(&mut self, outcome: Outcome, due: &mut Due) {
        self.answer(outcome, None, due, |waiting| {
            matches!(waiting.awaits, WaitsFor::Reexec | WaitsFor::Upgrade)
        });
    }

    /// So is a reload that went well.
    pub(super) fn answer_reload(&mut self, due: &mut Due) {
        self.answer(Outcome::Done, None, due, |waiting| waiting.awaits == WaitsFor::Reexec);
        for waiting in &mut self.upgrade.waiting {
            if waiting.awaits == WaitsFor::Upgrade {
                waiting.awaits = WaitsFor::Rollout;
            }
        }
    }

    /// So is the roll-out.
    pub(super) fn answer_rollout(&mut self, rollout: &Rollout, outcome: Outcome, due: &mut Due) {
        let about = self.about(rollout);
        self.answer(outcome, Some(about), due, |waiting| waiting.awaits == WaitsFor::Rollout);
    }

    /// Another one takes its place: programs are told, people wait for that.
    pub(super) fn answer_superseded(&mut self, rollout: &Rollout, due: &mut Due) {
        let about = self.about(rollout);
        let before = self.upgrade.waiting.len();
        self.answer(Outcome::Superseded, Some(about), due, |waiting| {
            waiting.awaits == WaitsFor::Rollout && waiting.whom.wants_events
        });
        if self.upgrade.waiting.len() < before {
            self.saw("a program whose roll-out is superseded");
        }
    }

    /// As many are up as are wanted, and no more; or never will be.
    pub(super) fn answer_settled(&mut self, due: &mut Due) {
        let target = self.settings.target;
        if self.has_given_up() {
            self.answer_unsettled(Outcome::Failed, due);
        } else if self.capacity() == target && self.staying() == u64::from(target) {
            let before = self.upgrade.waiting.len();
            self.answer(Outcome::Done, None, due, |waiting| waiting.awaits == WaitsFor::Settled);
            if self.upgrade.waiting.len() < before {
                self.saw("a number of workers that was waited for");
            }
        }
    }

    /// It is not to be.
    pub(super) fn answer_unsettled(&mut self, outcome: Outcome, due: &mut Due) {
        let before = self.upgrade.waiting.len();
        self.answer(outcome, None, due, |waiting| waiting.awaits == WaitsFor::Settled);
        if self.upgrade.waiting.len() < before {
            self.saw("a number of workers that was waited for in vain");
        }
    }

    /// The master leaves.
    pub(super) fn answer_exit(&mut self, due: &mut Due) {
        let before = self.upgrade.waiting.len();
        self.answer(Outcome::Done, None, due, |waiting| waiting.awaits == WaitsFor::Exit);
        if self.upgrade.waiting.len() < before {
            self.saw("an end of the master that was waited for");
        }
    }

    /// The master stops: of those who wait only those for its end go on.
    pub(super) fn answer_all(&mut self, outcome: Outcome, due: &mut Due) {
        self.answer(outcome, None, due, |waiting| waiting.awaits != WaitsFor::Exit);
    }

    /// Gives everyone of a kind their last line.
    fn answer(
        &mut self,
        outcome: Outcome,
        about: Option<About>,
        due: &mut Due,
        who: impl Fn(&Waiting) -> bool,
    ) {
        let waiting = std::mem::take(&mut self.upgrade.waiting);
        let (told, left): (Vec<Waiting>, _) = waiting.into_iter().partition(who);
        self.upgrade.waiting = left;
        for Waiting { whom, awaits } in told {
            let is_upgrade = !matches!(awaits, WaitsFor::Settled | WaitsFor::Exit);
            let is_done = Some(outcome == Outcome::Done && is_upgrade);
            let outcomes = only(outcome);
            due.replies.push(LastLine { whom, outcomes, is_done, about: about.clone() });
        }
    }

    /// A client is gone, and with it what it is owed.
    pub(super) fn hung_up_on(&mut self, connection: ConnectionId) {
        let waiting = self.upgrade.waiting.len();
        self.upgrade.waiting.retain(|waiting| waiting.whom.connection != connection);
        if self.upgrade.waiting.len() < waiting {
            self.saw("a client that does not wait for the end");
        }
    }
}

/// This outcome and no other.
pub(super) fn only(outcome: Outcome) -> &'static [Outcome] {
    let index = Outcome::ALL.iter().position(|other| *other == outcome);
    let index = index.expect("every outcome is one of all");
    &Outcome::ALL[index..=index]
}
