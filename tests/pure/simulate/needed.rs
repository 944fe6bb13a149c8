//! Who is needed, who is not any more, and who serves.

use einhorn::state::{Pid, RolloutKind};

use super::ledger::{Entry, Ledger};
use super::rollout::Rollout;

impl Ledger {
    /// Which old workers are not needed any more.
    pub(super) fn not_needed(&mut self) -> Vec<Pid> {
        let mut old: Vec<(bool, u32, Pid)> =
            self.others().map(|(pid, w)| (w.acked_at.is_some(), w.slot, pid)).collect();
        old.sort_unstable();
        let going = match &self.upgrade.rollout {
            Some(Rollout { canary: Some(_), .. }) => self.beside_canary(old),
            Some(rollout) => self.replaced(rollout.kind, old),
            None => self.left_over(old),
        };
        for (is_serving, ..) in &going {
            self.saw(match (is_serving, self.upgrade.rollout.is_some()) {
                _ if self.has_canary() => "one too many beside a canary",
                (true, true) => "an old worker goes",
                (false, true) => "an old one goes that is not up",
                (true, false) => "one of another code goes after the roll-out",
                (false, false) => "one of another code goes that is not up",
            });
        }
        if !going.is_empty() && self.upgrade.rollout.as_ref().is_some_and(Rollout::is_fleet) {
            self.saw("a fleet that comes in waves");
        }
        going.into_iter().map(|(_, _, pid)| pid).collect()
    }

    /// A canary replaces nobody: only those go who are more than there should be.
    fn beside_canary(&self, mut old: Vec<(bool, u32, Pid)>) -> Vec<(bool, u32, Pid)> {
        let target = usize::try_from(self.settings.target).expect("a count fits");
        old.truncate(old.len().saturating_sub(target));
        old
    }

    /// In a roll-out one goes for each that is up anew, those first that do not serve; but none
    /// that serves while fewer than the target would be left. A fleet waits for all, if all have
    /// room beside the old.
    fn replaced(&self, kind: RolloutKind, old: Vec<(bool, u32, Pid)>) -> Vec<(bool, u32, Pid)> {
        if kind == RolloutKind::Fleet && self.room() >= u64::from(self.missing()) {
            return Vec::new();
        }
        let target = usize::try_from(self.settings.target).expect("a count fits");
        let new = usize::try_from(self.serving_new()).expect("a count fits");
        let mut left = old.len();
        let mut serving = old.iter().filter(|(is_serving, ..)| *is_serving).count();
        let may_go = |(is_serving, ..): &(bool, u32, Pid)| {
            let may = left + new > target && (!is_serving || serving + new > target);
            left -= 1;
            serving -= usize::from(*is_serving);
            may
        };
        old.into_iter().take_while(may_go).collect()
    }

    /// Without a roll-out nobody else is wanted: but of those that serve only as many go as there
    /// are above the target.
    fn left_over(&self, old: Vec<(bool, u32, Pid)>) -> Vec<(bool, u32, Pid)> {
        let (serving, mut going): (Vec<_>, Vec<_>) = old.into_iter().partition(|(up, ..)| *up);
        let target = usize::try_from(self.settings.target).expect("a count fits");
        let own = usize::try_from(self.serving_new()).expect("a count fits");
        let stay = target.saturating_sub(own);
        let leave = serving.len().saturating_sub(stay);
        going.extend(serving.into_iter().take(leave));
        going
    }

    /// Workers of other code than is meant to serve that were not told to go.
    pub(super) fn others(&self) -> impl Iterator<Item = (Pid, &Entry)> {
        let is_other = |worker: &Entry| worker.generation != self.generation;
        let others = self.workers.iter().filter(move |(_, w)| is_other(w) && w.told_at.is_none());
        others.map(|(pid, worker)| (*pid, worker))
    }

    /// How many more may be started beside those that stay.
    pub(super) fn room(&self) -> u64 {
        let (Some(_), Some(additional)) = (&self.upgrade.rollout, self.settings.max_additional)
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
        let serving = self.workers.values().filter(|worker| worker.serves()).count();
        u32::try_from(serving).expect("a count fits")
    }

    /// How many of the code that is meant to serve do.
    pub(super) fn serving_new(&self) -> u32 {
        let new = self.current().filter(|(_, worker)| worker.serves()).count();
        u32::try_from(new).expect("a count fits")
    }

    /// Those who serve are never fewer than when the roll-out began, deaths aside, nor than the
    /// target, if that is lower; nor until those who served before do again, if it failed.
    pub(super) fn keeps_its_promise(&mut self, is_turn: bool, died: bool) -> Result<(), String> {
        let (serving, target) = (self.capacity(), self.settings.target);
        let is_over = self.upgrade.rollout.is_none() && self.others().next().is_none();
        let Some(promise) = &mut self.promise else { return Ok(()) };
        if died {
            *promise = (*promise).min(serving);
        }
        let promised = (*promise).min(target);
        let kept = serving >= promised;
        if is_turn {
            *promise = promised;
        }
        if is_over {
            self.promise = None;
        }
        match kept {
            true => Ok(()),
            false => Err(format!("{serving} serve in an upgrade that was to keep {promised}")),
        }
    }
}
