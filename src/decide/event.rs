//! Events: everything that can happen to the master.

use std::fmt;
use std::path::PathBuf;

use crate::protocol::{BadRequest, Request};
use crate::state::{
    CandidateReport, ConnectionId, Deployment, Disposition, ExitStatus, Pid, Signal, Slot,
};

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
        /// What runs on in its process group, if it was a worker.
        left: Option<Left>,
    },
    /// The process group of a worker that was reaped has been looked at again.
    GroupSeen {
        /// The number of the group, which was the worker's pid.
        group: Pid,
        /// What runs in it; `None` if nothing does.
        left: Option<Left>,
    },
    /// What a worker does with a signal has been looked up.
    Inspected {
        /// The worker.
        pid: Pid,
        /// The signal.
        signal: Signal,
        /// What was found.
        inspection: Inspection,
    },
    /// A signal has been sent.
    SignalSent {
        /// The worker, or the group that one has left.
        pid: Pid,
        /// The signal.
        signal: Signal,
        /// What was found right before.
        inspection: Inspection,
    },
    /// A signal could not be sent.
    SignalFailed {
        /// The worker, or the group that one has left.
        pid: Pid,
        /// The signal.
        signal: Signal,
        /// The kernel's answer.
        why: String,
    },
    /// A signal has suspended a child (state T of ps).
    Suspended {
        /// The child, which need not be a worker.
        pid: Pid,
        /// The signal.
        signal: Signal,
    },
    /// SIGCONT lets a child run again.
    Continued {
        /// The child, which need not be a worker.
        pid: Pid,
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
        /// What its senders may say.
        authority: Authority,
        /// Whose process it names; `None` when it names a worker's own pid, or nothing that has to
        /// be looked up.
        membership: Option<Membership>,
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

/// What a worker does with a signal, as far as that can be seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// What it does.
    pub disposition: Option<Disposition>,
    /// The name of its program.
    pub program: Option<String>,
}

/// The processes in the process group of a worker that was reaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// How many there are; at least one.
    pub count: u32,
    /// The name of the program of one of them, as far as that can be seen.
    pub program: Option<String>,
    /// Whether a signal suspends one of them.
    pub is_suspended: bool,
}

/// What may be said over a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    /// Every command. The mode of the socket file decides who gets such a connection; over one that
    /// `-g` gave, it takes the master's user or root.
    Full,
    /// An ACK or a ping of the worker that `-g` gave the connection to. At least a part of the line
    /// is from this sender, who is neither the master's user nor root.
    OwnWorker(Sender),
}

/// How a process belongs to a worker that is no worker itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Membership {
    /// It is in the process group of this worker.
    InGroup(Pid),
    /// It descends from this worker, and is in another process group.
    Descendant(Pid),
    /// It is in no worker's group, and as far as can be seen descends from none.
    Unrelated,
    /// There is no such process where the master runs.
    NoSuchProcess,
}

/// Who sent a signal, from `siginfo_t` (sigaction(2)), or a line, from `SCM_CREDENTIALS` (unix(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// Its pid; 0 for one outside the master's pid namespace.
    pub pid: i32,
    /// Its real user id; the overflow uid for one that the master's user namespace does not have.
    pub uid: u32,
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            0 => write!(f, "an unknown process of user {}", self.uid),
            pid => write!(f, "process {pid} of user {}", self.uid),
        }
    }
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
