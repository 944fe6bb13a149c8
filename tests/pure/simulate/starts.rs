//! Who is to be started, and when.

use einhorn::decide::SPAWNS_PER_TURN;

use super::ledger::{Entry, Ledger};
use super::rollout::Rollout;

/// The longest back-off.
const BACKOFF_MAX: u64 = 30_000_000_000;

impl Ledger {
    /// A start was ordered, within its rights.
    pub(super) fn ordered(&mut self, now: u64, slot: u32, generation: u32) -> Result<(), String> {
        self.ordered.insert(slot, generation);
        if self.first_count > 0 {
            self.first_count -= 1;
        } else if self.streak > 0 {
            self.last_start_at = Some(now);
            self.saw("a start after a back-off");
        } else {
            self.pace.start(now, self.settings.target)?;
            self.saw("an immediate start");
        }
        Ok(())
    }

    /// From when on one more may start and must, and by which rule; or why none may.
    pub(super) fn start_due(&self) -> Result<(u64, &'static str), &'static str> {
        if self.stop_code.is_some() {
            return Err("the master is stopping");
        }
        if self.missing() == 0 {
            return Err("nobody is missing");
        }
        if self.has_given_up() {
            return Err("the master has given up");
        }
        if self.room() == 0 {
            return Err("as many are beside the old ones as may be");
        }
        if self.first_count > 0 {
            return Ok((0, "first start"));
        }
        // A canary and those before it do not wait for each other: they may never be up.
        let generation = self.wanted().unwrap_or(self.generation);
        if self.waiting(generation) >= self.settings.max_unacked {
            return Err("as many as may be wait for their ACK");
        }
        Ok(match self.streak {
            0 => (self.pace.due_at(self.settings.target), "pace"),
            _ => (self.last_start_at.unwrap_or(0) + self.back_off(), "back-off"),
        })
    }

    /// Whether as many are ordered as one turn starts: a single one until one could be started.
    pub(super) fn is_batch_full(&self) -> bool {
        self.ordered.len() >= if self.has_started { SPAWNS_PER_TURN } else { 1 }
    }

    /// Of which code the next one is, if any is missing: beside a canary old ones are replaced by
    /// their like.
    pub(super) fn wanted(&self) -> Option<u32> {
        let (current, _) = self.present();
        match &self.upgrade.rollout {
            _ if self.missing() == 0 => None,
            Some(Rollout { canary: Some(_), from, .. }) if current > 0 => Some(*from),
            _ => Some(self.generation),
        }
    }

    /// How many there should be in addition.
    pub(super) fn missing(&self) -> u32 {
        let ((current, others), target) = (self.present(), self.settings.target);
        match self.has_canary() {
            false => target.saturating_sub(current),
            true => u32::from(current == 0) + target.saturating_sub(others),
        }
    }

    /// How many of the code that is meant to serve live or are ordered, and how many of others.
    /// Those that were told to go count as long as they live, but for others, and for workers of
    /// code that serves again: those may drain for hours, and somebody is wanted in their place.
    pub(super) fn present(&self) -> (u32, u32) {
        let is_current = |code: u32| code == self.generation;
        let counts = |worker: &&Entry| {
            let is_lasting = is_current(worker.generation) && self.newest == self.generation;
            is_lasting || worker.told_at.is_none()
        };
        let live = self.workers.values().filter(counts).map(|worker| worker.generation);
        let all = live.chain(self.ordered.values().copied());
        let (current, others): (Vec<_>, Vec<_>) = all.partition(|code| is_current(*code));
        (count(current.iter()), count(others.iter()))
    }

    /// How many of a generation wait for their ACK; those on their way out are none of them.
    pub(super) fn waiting(&self, generation: u32) -> u32 {
        let waits = |worker: &&Entry| worker.acked_at.is_none() && worker.told_at.is_none();
        let live = self.workers.values().filter(waits).map(|worker| worker.generation);
        let all = live.chain(self.ordered.values().copied());
        count(all.filter(|code| *code == generation))
    }

    /// The lowest index that nobody has.
    pub(super) fn lowest_free(&self) -> u32 {
        let is_used = |slot: u32| {
            self.ordered.contains_key(&slot) || self.workers.values().any(|w| w.slot == slot)
        };
        (0..).find(|slot| !is_used(*slot)).expect("an index is free")
    }

    /// Whether as many attempts as `-r` allows have failed in a row.
    pub(super) fn has_given_up(&self) -> bool {
        self.settings.retries.is_some_and(|retries| self.streak >= retries)
    }

    /// `seconds × 1.5^streak`, at most half a minute.
    pub(super) fn back_off(&self) -> u64 {
        let mut wait = self.settings.interval as f64;
        for _ in 0..self.streak {
            wait = (wait * 1.5).min(BACKOFF_MAX as f64);
        }
        wait as u64
    }
}

fn count(items: impl Iterator) -> u32 {
    u32::try_from(items.count()).expect("a count fits")
}
