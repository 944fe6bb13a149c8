//! The signal that asks a worker to stop: whether it was delivered, and what the worker does with
//! it.

use crate::state::{Monotonic, Signal};

/// What a process does with a signal; see signal(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// It has a handler for it.
    Caught,
    /// It has no handler, and its first thread blocks the signal, as a rule to take it with
    /// sigwait(3) or signalfd(2).
    Blocked,
    /// It ignores it.
    Ignored,
    /// The signal's default action, which for most signals ends the process.
    Default,
}

impl Disposition {
    /// Whether the process takes notice of the signal.
    pub fn is_handled(self) -> bool {
        matches!(self, Disposition::Caught | Disposition::Blocked)
    }
}

/// The last signal that asked a worker to stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopSignal {
    /// The signal.
    pub signal: Signal,
    /// What the worker did with it right before it was sent; `None` if that is not known.
    pub disposition: Option<Disposition>,
    /// Whether it was sent.
    pub delivery: Delivery,
}

/// Whether a signal was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It is about to be.
    Ordered,
    /// It was.
    Sent,
    /// It could not be, and is tried again.
    Failed {
        /// When it failed first.
        since: Monotonic,
        /// When it was tried last.
        tried_at: Monotonic,
        /// The kernel's answer.
        why: String,
    },
}

impl StopSignal {
    /// A signal that is about to be sent.
    pub fn ordered(signal: Signal) -> StopSignal {
        StopSignal { signal, disposition: None, delivery: Delivery::Ordered }
    }

    /// Why it could not be sent, if it could not.
    pub fn failure(&self) -> Option<&str> {
        match &self.delivery {
            Delivery::Failed { why, .. } => Some(why),
            Delivery::Ordered | Delivery::Sent => None,
        }
    }

    /// `cannot be sent TERM: Operation not permitted`, if it could not be.
    pub fn refusal(&self) -> Option<String> {
        Some(format!("cannot be sent {}: {}", self.signal, self.failure()?))
    }

    /// Whether the worker is expected to be ended by it at once.
    pub fn is_fatal(&self) -> bool {
        let is_default = self.signal == Signal::Kill
            || (self.signal.ends_a_program() && self.disposition == Some(Disposition::Default));
        self.delivery == Delivery::Sent && is_default
    }
}
