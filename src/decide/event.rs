//! What happens to the master: the closed list.

use std::fmt;
use std::path::PathBuf;

use crate::protocol::{BadRequest, Request};
use crate::state::{CandidateReport, ConnectionId, Deployment, ExitStatus, Pid, Signal, Slot};

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
        /// The directory that it was started in, with `--chdir`.
        directory: Option<PathBuf>,
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
        /// The end of what it wrote to its standard error; nothing where that is not captured.
        last_words: Vec<u8>,
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
        /// What its senders may say.
        authority: Authority,
        /// Whose process it names; `None` when it names a worker's own pid, or nothing that has to
        /// be looked up.
        membership: Option<Membership>,
    },
    /// The candidate runs.
    PreflightStarted {
        /// Its pid, which is its process group.
        pid: Pid,
        /// What `--chdir` and `--env-file` mean now, with either of them.
        deployment: Option<Deployment>,
    },
    /// The preflight is over.
    PreflightEnded {
        /// How.
        outcome: PreflightOutcome,
    },
    /// The exec of the candidate returned: this image goes on.
    HandOverFailed {
        /// Why, in words.
        why: String,
    },
    /// This image has adopted the state of the one before it.
    Adopted {
        /// The release of that one.
        from_release: String,
    },
    /// The next image could not adopt the state and gave it back to this one.
    RolledBack {
        /// Why, in words.
        why: String,
    },
    /// The command of `--on-canary` runs; its end is that of a child which is no worker.
    CheckStarted {
        /// Its pid, which is its process group.
        pid: Pid,
    },
    /// The command of `--on-canary` could not be started.
    CheckNotStarted {
        /// Why, in words.
        why: String,
    },
    /// A connection is gone.
    Closed {
        /// Which.
        connection: ConnectionId,
    },
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
    /// There is nothing to ask: the command could not be found, read or started.
    NotStarted {
        /// Why, in words.
        why: String,
    },
    /// The candidate has ended.
    Ended {
        /// The process that was started.
        pid: Pid,
        /// How it ended.
        status: ExitStatus,
        /// What it said of itself, if it said anything that can be understood.
        report: Option<CandidateReport>,
        /// Whether it can be executed again exactly as it was, or why not; `None` when that is not
        /// asked for.
        pin: Option<Result<(), String>>,
        /// The end of what it wrote to its standard output and error.
        last_words: String,
        /// Whether it wrote more than that.
        is_cut: bool,
    },
}
