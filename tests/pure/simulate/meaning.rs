//! What a line of a client asks for, known to the one who made it up and not read from it.

use einhorn::scalar::Scalar;
use einhorn::state::{Pid, Signal};

/// What must come of a request.
#[derive(Clone, Debug)]
pub(super) enum Meaning {
    /// A reply and nothing else: questions, mistakes and nonsense.
    Nothing,
    /// An ACK for a pid, where the line has a valid one.
    Ack(Option<Pid>),
    /// A ping of a pid, where the line has a valid one, with its `request_id`.
    Ping(Option<Pid>, Option<Scalar>),
    /// A new target.
    Target(u32),
    /// `inc`, `dec`.
    TargetBy(i64),
    Louder,
    Quieter,
    /// Signals to everyone that do not count as told to go.
    Signal(Vec<Signal>),
    Die(Signal),
    /// Settings, all of them valid.
    Config(Vec<Change>),
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
    Retries(Option<u32>),
}
