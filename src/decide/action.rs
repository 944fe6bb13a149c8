//! What the decisions ask the shell to do.

use crate::protocol::Reply;
use crate::state::{ConnectionId, Generation, Pid, Signal, Slot};

/// One thing to do. Those with an outcome report it as an event.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Start a worker; answered by `Spawned` or `SpawnFailed`.
    Spawn {
        /// Its index.
        slot: Slot,
        /// Its code.
        generation: Generation,
    },
    /// Send a signal to a worker that was not reaped yet.
    Signal {
        /// To whom.
        pid: Pid,
        /// Which.
        signal: Signal,
    },
    /// Send a message to a client.
    Reply {
        /// To whom.
        connection: ConnectionId,
        /// What.
        reply: Reply,
    },
    /// Tell a client how the master is, by what the kernel says of it too.
    Report {
        /// Whom.
        connection: ConnectionId,
        /// In what shape.
        kind: ReportKind,
        /// The reply, to which the text is missing.
        reply: Reply,
    },
    /// Close a connection once what it is owed is written.
    Close {
        /// Which.
        connection: ConnectionId,
    },
    /// Write a line to the log.
    Log {
        /// How important it is.
        level: Level,
        /// The line.
        message: String,
    },
    /// Ask a candidate whether it can take over; answered by `PreflightStarted`, then
    /// `PreflightEnded`.
    StartPreflight,
    /// End the candidate and everything that it started.
    KillPreflight,
    /// Become the candidate, at the end of this turn; answered by `HandOverFailed`, or in the next
    /// image by `Adopted` or `RolledBack`.
    HandOver,
    /// Become the candidate, which is a Ruby Einhorn, at the end of this turn; answered by
    /// `HandOverFailed` or by nothing any more.
    HandBack,
    /// Ask the command of `--on-canary` about a new worker; answered by `CheckStarted`, or by
    /// `CheckNotStarted`.
    RunCanaryCheck {
        /// The worker.
        worker: Pid,
        /// Its code.
        generation: Generation,
    },
    /// End the command of `--on-canary` and everything that it started.
    KillCheck {
        /// Its pid.
        process: Pid,
    },
    /// Leave with this exit status.
    Exit {
        /// 0 after an orderly stop.
        code: i32,
    },
}

/// How it is told how the master is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportKind {
    /// Tables for people.
    Table,
    /// A JSON document.
    Json,
    /// OpenMetrics text.
    Metrics,
}

/// How important a line of the log is (behaviour.md section 10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For those who look for a bug.
    Debug,
    /// What happens.
    Info,
    /// What needs a person.
    Error,
}
