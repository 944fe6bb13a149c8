//! What happens to the master: the closed list.

use crate::protocol::{BadRequest, Request};
use crate::state::{ConnectionId, ExitStatus, Pid, Signal, Slot};

/// One thing that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Every other event of this turn was told; time may have passed.
    Turn,
    /// An ordered worker runs.
    Spawned {
        /// The index that it was ordered for.
        slot: Slot,
        /// The new process.
        pid: Pid,
        /// The connection that `-g` gave it.
        connection: Option<ConnectionId>,
    },
    /// An ordered worker could not be started.
    SpawnFailed {
        /// The index that it was ordered for.
        slot: Slot,
        /// What failed, on which path, and why, in words.
        why: String,
    },
    /// A child ended and was reaped.
    Exited {
        /// Which; may be no worker at all.
        pid: Pid,
        /// How.
        status: ExitStatus,
    },
    /// A signal arrived.
    Signaled {
        /// Which.
        signal: Signal,
        /// From whom, where the kernel knows.
        sender: Option<Sender>,
    },
    /// A client connected.
    Opened {
        /// Its new number.
        connection: ConnectionId,
    },
    /// A client sent a line.
    Requested {
        /// Who.
        connection: ConnectionId,
        /// The line, understood or not.
        request: Result<Request, BadRequest>,
    },
    /// A connection is gone.
    Closed {
        /// Which.
        connection: ConnectionId,
    },
}

/// Who sent a signal, from `siginfo_t` (sigaction(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// Its pid.
    pub pid: i32,
    /// Its real user id.
    pub uid: u32,
}
