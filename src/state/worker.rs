//! One worker: a process that the master started and has not reaped yet.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use crate::scalar::Scalar;
use crate::state::config::AckMode;
use crate::state::{ConnectionId, Generation, Monotonic, Now, Realtime, Signal, Slot};

/// How long a worker may outlive its signal that was never ACKed in time: it has not begun to
/// serve, and until it is gone no other is started in its place.
const ACK_TIMEOUT_GRACE: Duration = Duration::from_secs(10);

/// The last `worker:ping` of a worker.
#[derive(Clone, Debug, PartialEq)]
pub struct Ping {
    /// When it arrived.
    pub at: Realtime,
    /// The `request_id` that it carried.
    pub request_id: Option<Scalar>,
}

/// The facts of one worker.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Worker {
    /// Its index.
    pub slot: Slot,
    /// The code that it runs.
    pub generation: Generation,
    /// When it was started.
    pub spawned_at: Monotonic,
    /// The same on the calendar.
    pub spawned_on: Realtime,
    /// When it was ACKed, if it was.
    pub acked_at: Option<Monotonic>,
    /// The signals that told it to go; those of the `signal` command do not count.
    pub signaled: BTreeSet<Signal>,
    /// When it was first told to go; its `--signal-timeout` runs from here.
    pub stop_requested_at: Option<Monotonic>,
    /// When it was last told to go, on the calendar.
    pub last_signaled_on: Option<Realtime>,
    /// Its last ping.
    pub ping: Option<Ping>,
    /// The connection that `-g` gave it.
    pub connection: Option<ConnectionId>,
    /// The directory of `--chdir` that it was started in, without symbolic links.
    pub directory: Option<PathBuf>,
    /// Whether its ACK took longer than a roll-out allows.
    pub missed_ack_deadline: bool,
}

impl Worker {
    /// A worker just started.
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

    /// Whether it counts as up.
    pub fn is_acked(&self) -> bool {
        self.acked_at.is_some()
    }

    /// Whether it was told to go.
    pub fn is_stopping(&self) -> bool {
        !self.signaled.is_empty()
    }

    /// When a timer ACK falls due; `None` in manual mode or once ACKed.
    pub fn ack_due_at(&self, mode: AckMode) -> Option<Monotonic> {
        match mode {
            AckMode::Timer(after) if !self.is_acked() => Some(self.spawned_at + after),
            AckMode::Timer(_) | AckMode::Manual => None,
        }
    }

    /// When it gets SIGKILL for outliving its signal; `None` when it was not told to go, there is
    /// no time-out, or SIGKILL was sent already.
    pub fn kill_due_at(&self, timeout: Option<Duration>) -> Option<Monotonic> {
        if self.signaled.contains(&Signal::Kill) {
            return None;
        }
        Some(self.stop_requested_at? + self.signal_timeout(timeout)?)
    }

    /// How long it may outlive its signal, with this `--signal-timeout`.
    pub fn signal_timeout(&self, timeout: Option<Duration>) -> Option<Duration> {
        match self.missed_ack_deadline {
            true => {
                Some(timeout.map_or(ACK_TIMEOUT_GRACE, |timeout| timeout.min(ACK_TIMEOUT_GRACE)))
            }
            false => timeout,
        }
    }
}
