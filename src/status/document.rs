//! The document: what `status --json` answers, to be written and to be read back.

use serde::{Deserialize, Serialize};

use crate::outcome::Outcome;
use crate::protocol::{NewsFailure, NewsStage, Numbers};
use crate::status::kinds::{Health, ListenerKind, Unit, UpgradeCommand, WorkerState};

/// The version of the document. It grows when a field goes or changes its meaning, not when one is
/// added.
pub const VERSION: u32 = 1;

/// How the master is. Times are milliseconds, instants (`_on`) since 1970; `null` is what is not
/// known or does not apply.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// [`VERSION`].
    pub version: u32,
    /// When it was written.
    pub written_on_ms: i64,
    /// Whether all is as it should be.
    pub health: Health,
    /// Why it is not, a sentence each; empty when it is.
    pub reasons: Vec<String>,
    /// What is worth knowing besides, a sentence each.
    pub notes: Vec<String>,
    /// The master itself.
    pub master: MasterStatus,
    /// What goes on besides serving.
    pub in_progress: Option<InProgress>,
    /// How the last upgrade ended, if there was one.
    pub last_upgrade: Option<LastUpgrade>,
    /// The workers, by slot.
    pub workers: Vec<WorkerStatus>,
    /// The listeners, in the order of the command line.
    pub listeners: Vec<ListenerStatus>,
}

/// The master itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MasterStatus {
    /// Its process.
    pub pid: i32,
    /// `-c`.
    pub name: Option<String>,
    /// The release of einhorn.
    pub release: String,
    /// The generation of the workers that are meant to serve.
    pub generation: u32,
    /// How long the process has lived, re-execs included.
    pub uptime_ms: Option<u64>,
    /// How often it has re-executed itself.
    pub reexecs: u32,
    /// How many workers are wanted.
    pub target: u32,
    /// How many are up and were not told to go.
    pub acked: u32,
    /// Deaths before an ACK since the last ACK.
    pub early_deaths: u32,
    /// Resident memory.
    pub memory_bytes: Option<u64>,
}

/// What goes on besides serving.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InProgress {
    /// What is being done.
    pub stage: NewsStage,
    /// How far it is.
    #[serde(flatten)]
    pub numbers: Numbers,
}

/// How an upgrade ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LastUpgrade {
    /// What was asked for.
    pub command: UpgradeCommand,
    /// How it ended.
    pub outcome: Outcome,
    /// The generation that it was about; the serving one when it never got so far.
    pub generation: u32,
    /// The directory of `--chdir` that it was about, symbolic links resolved.
    pub release: Option<String>,
    /// The last line that its client got.
    pub message: String,
    /// How long it took from when it was asked for.
    pub took_ms: u64,
    /// When it ended.
    pub ended_on_ms: i64,
    /// The first of its new workers that failed.
    pub failures: Vec<NewsFailure>,
}

/// A worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerStatus {
    /// Its index.
    pub slot: u32,
    /// Its process.
    pub pid: i32,
    /// The code that it runs.
    pub generation: u32,
    /// The directory of `--chdir` that it was started in, symbolic links resolved.
    pub release: Option<String>,
    /// How far in its life it is.
    pub state: WorkerState,
    /// When it was started.
    pub started_on_ms: i64,
    /// How old it is.
    pub age_ms: u64,
    /// How long it took to its ACK.
    pub time_to_ack_ms: Option<u64>,
    /// How many workers of its slot died without being told to go.
    pub restarts: u32,
    /// Resident memory.
    pub memory_bytes: Option<u64>,
    /// The step of its schedule, once it was asked to stop.
    pub step: Option<StopStepStatus>,
    /// The signal that it is sent next if it does not stop.
    pub next_signal: Option<String>,
    /// In how long that is sent; below zero when it is overdue.
    pub deadline_ms: Option<i64>,
}

/// A step of the schedule by which a worker is asked to stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopStepStatus {
    /// Which step, from 1.
    pub number: u32,
    /// How many there are.
    pub of: u32,
    /// The signal of the step.
    pub signal: String,
}

/// A listener.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ListenerStatus {
    /// Where it is, as it was asked for, but with the port that the kernel chose.
    pub address: String,
    /// What it is.
    pub kind: ListenerKind,
    /// Its number in the master and in every worker.
    pub descriptor: i32,
    /// What waits in it, by the kernel.
    pub queue: Option<Queue>,
}

/// What waits in a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queue {
    /// How much waits now.
    pub depth: u64,
    /// How much may wait; of connections, the kernel lets one more in.
    pub limit: u64,
    /// Of what.
    pub unit: Unit,
}
