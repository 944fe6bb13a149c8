//! The pace of immediate replacements, as a leaking bucket and as a count in every window: two
//! accounts of the same promise, neither of them the one in `decide::pool`.

const SECOND: u64 = 1_000_000_000;

/// How many starts a window's account remembers; more than twice the largest fleet of a run.
const REMEMBERED_MAX: usize = 400;

/// What immediate replacements have used up.
pub(super) struct Pace {
    /// How full the bucket was, in nanoseconds of waiting, at an instant.
    level: u64,
    at: u64,
    /// The immediate starts since the target last changed.
    starts: Vec<u64>,
}

impl Pace {
    /// With this much used up already.
    pub(super) fn new(level: u64, at: u64) -> Pace {
        Pace { level, at, starts: Vec::new() }
    }

    /// When one more may start at once.
    pub(super) fn due_at(&self, target: u32) -> u64 {
        let over = (self.level + period(target)).saturating_sub(burst(target));
        if over == 0 { 0 } else { self.at + over }
    }

    /// One more starts.
    pub(super) fn start(&mut self, now: u64, target: u32) -> Result<(), String> {
        self.leak(now);
        self.level += period(target);
        self.starts.push(now);
        if self.starts.len() > REMEMBERED_MAX {
            self.starts.remove(0);
        }
        for (count, began) in (1..).zip(self.starts.iter().rev()) {
            let allowed = u64::from(2 * target) + (now - began) / period(target);
            if count > allowed {
                return Err(format!(
                    "{count} immediate starts within {}ns at a target of {target}: the pace \
                     allows {allowed}",
                    now - began
                ));
            }
        }
        Ok(())
    }

    /// The target changes: nobody waits longer than the new one's pace makes them.
    pub(super) fn retarget(&mut self, now: u64, old: u32, new: u32) {
        self.leak(now);
        self.level = self.level.min(burst(new));
        if old != new {
            self.starts.clear();
        }
    }

    fn leak(&mut self, now: u64) {
        self.level = self.level.saturating_sub(now - self.at);
        self.at = now;
    }
}

/// Half a second a worker, and never more than twenty a second.
fn period(target: u32) -> u64 {
    (SECOND / 2 / u64::from(target)).max(SECOND / 20)
}

/// Twice the fleet at once.
pub(super) fn burst(target: u32) -> u64 {
    2 * u64::from(target) * period(target)
}
