//! Events: everything that can happen to the master.

use std::path::PathBuf;

use crate::protocol::{BadRequest, Request};
use crate::state::{CandidateReport, ConnectionId, Deployment, ExitStatus, Pid, Signal, Slot};

/// One thing that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The last event of each turn: all others have been delivered; time may have passed.
    Turn,
    /// A worker has been started.
    Spawned {
        /// Its slot.
        slot: Slot,
        /// The new process.
        pid: Pid,
        /// The connection that `-g` gave to it.
        connection: Option<ConnectionId>,
        /// With `--chdir`, the directory that it was started in.
        directory: Option<PathBuf>,
    },
    /// A worker could not be started.
    SpawnFailed {
        /// Its slot.
        slot: Slot,
        /// An error message that names the operation and the path.
        why: String,
    },
    /// A child exited and was reaped.
    Exited {
        /// The child, which need not be a worker.
        pid: Pid,
        /// Its exit status.
        status: ExitStatus,
        /// The last bytes that it wrote to standard error; empty unless that is captured.
        last_words: Vec<u8>,
    },
    /// A signal arrived.
    Signaled {
        /// The signal.
        signal: Signal,
        /// The sender, where the kernel reports it.
        sender: Option<Sender>,
    },
    /// A client connected.
    Opened {
        /// The number assigned to it.
        connection: ConnectionId,
    },
    /// A client sent a line.
    Requested {
        /// The client's connection.
        connection: ConnectionId,
        /// The parsed request, or why it could not be parsed.
        request: Result<Request, BadRequest>,
    },
    /// The candidate has been started.
    PreflightStarted {
        /// Its pid, which is also its process group.
        pid: Pid,
        /// What `--chdir` and `--env-file` resolve to now; `None` without either option.
        deployment: Option<Deployment>,
    },
    /// The preflight has ended.
    PreflightEnded {
        /// How it ended.
        outcome: PreflightOutcome,
    },
    /// The exec of the candidate failed: this image continues.
    HandOverFailed {
        /// The reason.
        why: String,
    },
    /// This image has adopted the state of the previous one.
    Adopted {
        /// The release of the previous image.
        from_release: String,
    },
    /// The next image could not adopt the state and handed it back to this one.
    RolledBack {
        /// The reason.
        why: String,
    },
    /// The `--on-canary` command has been started; its exit is reported as `Exited`.
    CheckStarted {
        /// Its pid, which is also its process group.
        pid: Pid,
    },
    /// The `--on-canary` command could not be started.
    CheckNotStarted {
        /// The reason.
        why: String,
    },
    /// A connection was closed.
    Closed {
        /// The connection.
        connection: ConnectionId,
    },
}

/// The sender of a signal, from `siginfo_t` (sigaction(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// Its pid.
    pub pid: i32,
    /// Its real user id.
    pub uid: u32,
}

/// How a preflight ended.
#[derive(Clone, Debug, PartialEq)]
pub enum PreflightOutcome {
    /// The re-exec command could not be found, read or started.
    NotStarted {
        /// The reason.
        why: String,
    },
    /// The candidate has exited.
    Ended {
        /// The process that was started.
        pid: Pid,
        /// Its exit status.
        status: ExitStatus,
        /// Its report, if it wrote a valid one.
        report: Option<CandidateReport>,
        /// Whether the same program can be executed again, or why not; `None` unless
        /// `--reexec-mode` asks for that.
        pin: Option<Result<(), String>>,
        /// The last of what it wrote to standard output and standard error.
        last_words: String,
        /// Whether it wrote more than `last_words` holds.
        is_truncated: bool,
    },
}
