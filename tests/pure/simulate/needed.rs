//! Who is needed, who is not any more, and who serves.

use einhorn::state::{Pid, RolloutKind};

use super::ledger::{Entry, Ledger};
use super::rollout::Rollout;

/// A worker of other code than is meant to serve, those first that are needed least.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Old {
    serves: bool,
    /// Whether it is of the code that serves again if the new one fails.
    is_from: bool,
    slot: u32,
    pid: Pid,
}

impl Ledger {
    /// Which old workers are not needed any more: those that are not up, unless they are of the
    /// code that serves until the new one does; and of the others, in this order, as many as the
    /// stage of the roll-out says.
    pub(super) fn not_needed(&mut self) -> Vec<Pid> {
        let from = self.upgrade.rollout.as_ref().map(|rollout| rollout.from);
        let old = self.others().map(|(pid, worker)| Old {
            serves: worker.serves(),
            is_from: Some(worker.generation) == from,
            slot: worker.slot,
            pid,
        });
        let (mut old, mut going): (Vec<Old>, Vec<Old>) =
            old.partition(|old| old.serves || old.is_from);
        old.sort_unstable();
        for _ in &going {
            self.saw(match from {
                None => "one of another code goes that is not up",
                Some(_) => "one of a superseded roll-out goes that is not up",
            });
        }
        let count = match &self.upgrade.rollout {
            Some(Rollout { canary: Some(_), .. }) => old.len().saturating_sub(self.target()),
            Some(rollout) => self.replaced_count(rollout.kind, &old),
            None => old.len().saturating_sub(self.target().saturating_sub(self.new_count())),
        };
        for old in &old[..count] {
            self.saw(match (old.serves, from) {
                _ if self.has_canary() => "one too many beside a canary",
                (_, None) => "one of another code goes after the roll-out",
                (true, _) => "an old worker goes",
                (false, _) => "an old one goes that is not up",
            });
        }
        if count > 0 && self.upgrade.rollout.as_ref().is_some_and(Rollout::is_fleet) {
            self.saw("a fleet that comes in waves");
        }
        going.extend(old.into_iter().take(count));
        going.into_iter().map(|old| old.pid).collect()
    }

    /// In a roll-out one goes for each that is up anew; but none that serves while fewer than the
    /// target would be left. A fleet waits for all, if all have room beside the old.
    fn replaced_count(&self, kind: RolloutKind, old: &[Old]) -> usize {
        if kind == RolloutKind::Fleet && self.room() >= u64::from(self.missing()) {
            return 0;
        }
        let (target, new) = (self.target(), self.new_count());
        let mut left = old.len();
        let mut serving = old.iter().filter(|old| old.serves).count();
        let may_go = |old: &&Old| {
            let may = left + new > target && (!old.serves || serving + new > target);
            left -= 1;
            serving -= usize::from(old.serves);
            may
        };
        old.iter().take_while(may_go).count()
    }

    fn target(&self) -> usize {
        usize::try_from(self.settings.target).expect("a count fits")
    }

    fn new_count(&self) -> usize {
        usize::try_from(self.serving_new()).expect("a count fits")
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
