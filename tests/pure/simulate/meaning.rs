//! What a line of a client asks for, known to the one who made it up and not read from it.

use einhorn::scalar::Scalar;
use einhorn::state::{Pid, Signal, UpgradeKind};

/// What must come of a request.
#[derive(Clone, Debug)]
pub(super) enum Meaning {
    /// A reply and nothing else: questions.
    Nothing,
    /// A reply and nothing else: mistakes and nonsense.
    Mistake,
    /// An ACK for a pid, where the line has a valid one.
    Ack(Option<Pid>),
    /// A ping of a pid, where the line has a valid one, with its `request_id`.
    Ping(Option<Pid>, Option<Scalar>),
    /// A new target; and whether the client waits for it.
    Target(u32, bool),
    /// `inc`, `dec`; the same.
    TargetBy(i64, bool),
    Louder,
    Quieter,
    /// Signals to everyone that do not count as told to go.
    Signal(Vec<Signal>),
    /// Whether the client waits for the end is said as well.
    Die(Signal, bool),
    /// Settings, all of them valid.
    Config(Vec<Change>),
    Upgrade(UpgradeKind),
    /// The same to a Ruby Einhorn.
    HandBack(UpgradeKind),
    /// Whatever upgrade is under way is to end.
    Abort,
    /// It is to be told how that goes on.
    Wait,
    /// No line at all: what to think of a candidate that has ended.
    Candidate(Verdict),
}

/// What to think of a candidate, its time left aside.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Verdict {
    Fit,
    Unfit,
    /// It is a Ruby Einhorn.
    Ruby,
}

/// One changed setting; times in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    Target(u32),
    Interval(u64),
    AckAfter(Option<u64>),
    SignalTimeout(Option<u64>),
    Verbosity(u8),
    MaxUnacked(u32),
    MaxAdditional(Option<u32>),
    Retries(Option<u32>),
    AckTimeout(Option<u64>),
    UpgradeTimeout(Option<u64>),
    FailuresMax(Option<u32>),
    Canary(u64),
    CheckTimeout(u64),
}
