//! A worker: a process that the master has started and not reaped yet.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use crate::scalar::Scalar;
use crate::state::config::AckMode;
use crate::state::{
    ConnectionId, Delivery, Disposition, Generation, Monotonic, Now, Realtime, Signal, Slot,
    StopProgress, StopSchedule, StopSignal, Suspension,
};

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
    /// When it was first asked to stop.
    pub stop_requested_at: Option<Monotonic>,
    /// How far along the schedule it is; `None` if it was not asked to stop, or by another signal
    /// than that of `--stop`.
    pub stop_progress: Option<StopProgress>,
    /// The last signal that asked it to stop.
    pub stop_signal: Option<StopSignal>,
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
    /// Whether and for how long signals have suspended it.
    pub suspension: Suspension,
    /// The name of its program; `None` if it is not known.
    pub program: Option<String>,
    /// What it does with the first signal of the schedule, as it was last seen.
    pub disposition: Option<Disposition>,
}

impl Worker {
    /// A worker that was started just now.
    pub fn new(slot: Slot, generation: Generation, now: Now) -> Worker {
        let (spawned_at, spawned_on) = (now.monotonic, now.realtime);
        Worker { slot, generation, spawned_at, spawned_on, ..Worker::default() }
    }

    /// Whether it was ACKed, and so counts as up.
    pub fn is_acked(&self) -> bool {
        self.acked_at.is_some()
    }

    /// Whether it was asked to stop.
    pub fn is_stopping(&self) -> bool {
        self.stop_requested_at.is_some()
    }

    /// Whether it serves: it is up, is not stopping, and no signal suspends it.
    pub fn is_serving(&self) -> bool {
        self.is_acked() && !self.is_stopping() && self.suspension.current.is_none()
    }

    /// When its timer ACK is due: time in which it is suspended does not count. `None` in manual
    /// mode, once it is ACKed, and while it is suspended.
    pub fn ack_due_at(&self, mode: AckMode) -> Option<Monotonic> {
        match mode {
            AckMode::Timer(after) if !self.is_acked() && self.suspension.current.is_none() => {
                Some(self.spawned_at + after + self.suspension.total)
            }
            AckMode::Timer(_) | AckMode::Manual => None,
        }
    }

    /// The signal that asks it to stop, if it is this one and was not sent yet.
    pub fn undelivered(&mut self, signal: Signal) -> Option<&mut StopSignal> {
        let sent = |it: &&mut StopSignal| it.signal == signal && it.delivery != Delivery::Sent;
        self.stop_signal.as_mut().filter(sent)
    }

    /// When it is sent another signal for not stopping in time; `None` if it was not asked to stop,
    /// has as much time as it likes, or was sent SIGKILL already.
    pub fn next_stop_at(&self, schedule: &StopSchedule) -> Option<Monotonic> {
        if self.signaled.contains(&Signal::Kill) {
            return None;
        }
        let by_schedule = self.stop_progress.and_then(|progress| schedule.next_due_at(progress));
        by_schedule.into_iter().chain(self.late_kill_at()).min()
    }

    /// When it is sent SIGKILL because it was not even up before it was asked to stop; `None` also
    /// if it was tried, and could not be sent.
    pub fn late_kill_at(&self) -> Option<Monotonic> {
        let is_tried = self.stop_signal.as_ref().is_some_and(|sent| sent.signal == Signal::Kill);
        let is_late = self.missed_ack_deadline && !is_tried;
        Some(self.stop_requested_at.filter(|_| is_late)? + ACK_TIMEOUT_GRACE)
    }
}
