//! A worker: a process that the master has started and not reaped yet.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use crate::scalar::Scalar;
use crate::state::config::AckMode;
use crate::state::{ConnectionId, Generation, Monotonic, Now, Realtime, Signal, Slot};

/// How long a worker that missed its ACK deadline may take to stop: it has not begun to serve, and
/// is not replaced until it has exited.
const ACK_TIMEOUT_GRACE: Duration = Duration::from_secs(10);

/// The last `worker:ping` of a worker.
#[derive(Clone, Debug, PartialEq)]
pub struct Ping {
    /// When it arrived.
    pub at: Realtime,
    /// The `request_id` that it carried.
    pub request_id: Option<Scalar>,
}

/// The state of one worker.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Worker {
    /// Its slot.
    pub slot: Slot,
    /// The generation of its code.
    pub generation: Generation,
    /// When it was started.
    pub spawned_at: Monotonic,
    /// When it was started, as a calendar time.
    pub spawned_on: Realtime,
    /// When it was ACKed, if it was.
    pub acked_at: Option<Monotonic>,
    /// The signals that asked it to stop, not counting those of the `signal` command.
    pub signaled: BTreeSet<Signal>,
    /// When it was first asked to stop; `--signal-timeout` runs from here.
    pub stop_requested_at: Option<Monotonic>,
    /// When it was last asked to stop, as a calendar time.
    pub last_signaled_on: Option<Realtime>,
    /// Its last ping.
    pub ping: Option<Ping>,
    /// The connection that `-g` gave to it.
    pub connection: Option<ConnectionId>,
    /// With `--chdir`, the directory that it was started in, without symbolic links.
    pub directory: Option<PathBuf>,
    /// Whether its ACK took longer than `--ack-timeout`.
    pub missed_ack_deadline: bool,
}

impl Worker {
    /// A worker that was started just now.
    pub fn new(slot: Slot, generation: Generation, now: Now) -> Worker {
        Worker {
            slot,
            generation,
            spawned_at: now.monotonic,
            spawned_on: now.realtime,
            acked_at: None,
            signaled: BTreeSet::new(),
            stop_requested_at: None,
            last_signaled_on: None,
            ping: None,
            connection: None,
            directory: None,
            missed_ack_deadline: false,
        }
    }

    /// Whether it was ACKed, and so counts as up.
    pub fn is_acked(&self) -> bool {
        self.acked_at.is_some()
    }

    /// Whether it was asked to stop.
    pub fn is_stopping(&self) -> bool {
        !self.signaled.is_empty()
    }

    /// When its timer ACK is due; `None` in manual mode or once it is ACKed.
    pub fn ack_due_at(&self, mode: AckMode) -> Option<Monotonic> {
        match mode {
            AckMode::Timer(after) if !self.is_acked() => Some(self.spawned_at + after),
            AckMode::Timer(_) | AckMode::Manual => None,
        }
    }

    /// When it is sent SIGKILL for not stopping in time; `None` if it was not asked to stop, has no
    /// time limit, or was sent SIGKILL already.
    pub fn kill_due_at(&self, timeout: Option<Duration>) -> Option<Monotonic> {
        if self.signaled.contains(&Signal::Kill) {
            return None;
        }
        Some(self.stop_requested_at? + self.signal_timeout(timeout)?)
    }

    /// How long it may take to stop, given `--signal-timeout`; `None` means no limit.
    pub fn signal_timeout(&self, timeout: Option<Duration>) -> Option<Duration> {
        match self.missed_ack_deadline {
            true => {
                Some(timeout.map_or(ACK_TIMEOUT_GRACE, |timeout| timeout.min(ACK_TIMEOUT_GRACE)))
            }
            false => timeout,
        }
    }
}
