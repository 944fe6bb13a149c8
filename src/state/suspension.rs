//! Workers that a signal has suspended (state T of ps): they run no code, so they neither serve nor
//! stop.

use std::time::Duration;

use crate::state::{Monotonic, Now, Signal};

/// What is known of a worker's suspensions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Suspension {
    /// The signal that suspends it now, if one does, and since when.
    pub current: Option<Suspended>,
    /// How long the earlier ones lasted, in all.
    pub total: Duration,
    /// When it was last sent SIGCONT, so that it can stop.
    pub continued_at: Option<Monotonic>,
}

/// A suspension that lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suspended {
    /// SIGSTOP, SIGTSTP, SIGTTIN or SIGTTOU.
    pub signal: Signal,
    /// When it began, as far as the master has noticed.
    pub since: Monotonic,
}

impl Suspension {
    /// A signal suspends the worker.
    pub fn begin(&mut self, signal: Signal, now: Now) {
        let since = self.current.map_or(now.monotonic, |current| current.since);
        self.current = Some(Suspended { signal, since });
    }

    /// The worker runs again. Returns how long it was suspended; `None` if it was not.
    pub fn end(&mut self, now: Now) -> Option<Duration> {
        let lasted = now.monotonic.since(self.current.take()?.since);
        self.total = self.total.saturating_add(lasted);
        Some(lasted)
    }
}
