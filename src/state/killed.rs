//! Workers that were up and were killed by what asked them to stop, instead of draining.

use crate::state::Signal;

/// How many there were, by cause.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Killed {
    /// Those that had no handler for the signal that they were sent.
    pub unhandled_count: u32,
    /// The first of those.
    pub first_unhandled: Option<Unhandled>,
    /// Those that were still there at the end of the schedule, which is KILL.
    pub overdue_count: u32,
}

/// A program and a signal that it has no handler for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unhandled {
    /// The program's name; `None` if it is not known.
    pub program: Option<String>,
    /// The signal.
    pub signal: Signal,
}

impl Killed {
    /// How many there were in all.
    pub fn count(&self) -> u32 {
        self.unhandled_count.saturating_add(self.overdue_count)
    }
}
