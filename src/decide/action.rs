//! Actions: what `decide` asks the shell to do.

use crate::protocol::Reply;
use crate::state::{ConnectionId, Generation, Pid, Signal, Slot};

/// One thing to do. The shell reports the outcome of an action that has one as an event.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Start a worker; reported by `Spawned` or `SpawnFailed`.
    Spawn {
        /// Its slot.
        slot: Slot,
        /// The generation of its code.
        generation: Generation,
    },
    /// Send a signal to a worker that has not been reaped yet, or to the group that one has left;
    /// reported by `SignalSent` or `SignalFailed`.
    Signal {
        /// The worker, or the group.
        pid: Pid,
        /// The signal.
        signal: Signal,
    },
    /// Look up what a worker does with a signal; reported by `Inspected`.
    Inspect {
        /// The worker.
        pid: Pid,
        /// The signal.
        signal: Signal,
    },
    /// Look what runs in the process groups that workers have left; reported by a `GroupSeen` for
    /// each.
    LookAtGroups,
    /// Send a message to a client.
    Reply {
        /// The client's connection.
        connection: ConnectionId,
        /// The message.
        reply: Reply,
    },
    /// Send a client a status report, which includes figures read from the kernel.
    Report {
        /// The client's connection.
        connection: ConnectionId,
        /// The format of the report.
        kind: ReportKind,
        /// The reply, whose message is still empty.
        reply: Reply,
    },
    /// Close a connection once its pending replies have been written.
    Close {
        /// The connection.
        connection: ConnectionId,
    },
    /// Write a line to the log.
    Log {
        /// Its level.
        level: Level,
        /// The line.
        message: String,
    },
    /// Start a candidate and ask it whether it can take over; reported by `PreflightStarted`, then
    /// `PreflightEnded`.
    StartPreflight,
    /// Kill the candidate's process group.
    KillPreflight,
    /// Exec the candidate at the end of this turn; reported by `HandOverFailed`, or in the next
    /// image by `Adopted` or `RolledBack`.
    HandOver,
    /// Exec the candidate, which is a Ruby Einhorn, at the end of this turn; reported by
    /// `HandOverFailed`, or not at all if it succeeds.
    HandBack,
    /// Run the `--on-canary` command for a new worker; reported by `CheckStarted` or
    /// `CheckNotStarted`.
    RunCanaryCheck {
        /// The worker.
        worker: Pid,
        /// The generation of its code.
        generation: Generation,
    },
    /// Kill the process group of the `--on-canary` command.
    KillCheck {
        /// Its pid.
        process: Pid,
    },
    /// Exit with this status.
    Exit {
        /// 0 after a graceful stop.
        code: i32,
    },
}

/// The format of a status report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportKind {
    /// Human-readable tables.
    Table,
    /// A JSON document.
    Json,
    /// OpenMetrics text.
    Metrics,
}

/// The level of a log line (behaviour.md section 10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For debugging.
    Debug,
    /// Normal operation.
    Info,
    /// Something that needs the operator's attention.
    Error,
}
