//! The document that `status --json` returns; it can be serialized and parsed.

use serde::{Deserialize, Serialize};

use crate::outcome::Outcome;
use crate::protocol::{Numbers, ProgressStage, WorkerFailure};
use crate::status::kinds::{Health, ListenerKind, Unit, UpgradeCommand, WarningKind, WorkerState};

/// The version of the document. It increases when a field is removed or changes its meaning, not
/// when one is added.
pub const VERSION: u32 = 1;

/// The status of the master. Times are milliseconds, calendar times (`_on_ms`) since 1970; `None`
/// means not known or not applicable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// [`VERSION`].
    pub version: u32,
    /// When the document was written.
    pub written_on_ms: i64,
    /// Whether enough workers are serving.
    pub health: Health,
    /// Why the health is not ok, one sentence each; empty if it is.
    pub reasons: Vec<String>,
    /// What does not lessen the capacity, and should be looked into all the same.
    pub warnings: Vec<Warning>,
    /// Other things worth knowing, one sentence each.
    pub notes: Vec<String>,
    /// The master itself.
    pub master: MasterStatus,
    /// The upgrade or other change in progress.
    pub in_progress: Option<InProgress>,
    /// How the last upgrade ended, if there was one.
    pub last_upgrade: Option<LastUpgrade>,
    /// The workers, by slot.
    pub workers: Vec<WorkerStatus>,
    /// The listeners, in the order of the command line.
    pub listeners: Vec<ListenerStatus>,
}

/// A warning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// What it is about.
    pub kind: WarningKind,
    /// One sentence.
    pub message: String,
}

/// The status of the master's process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MasterStatus {
    /// Its pid.
    pub pid: i32,
    /// The name given with `-c`.
    pub name: Option<String>,
    /// The release of einhorn.
    pub release: String,
    /// The current generation.
    pub generation: u32,
    /// How long the process has lived, re-execs included.
    pub uptime_ms: Option<u64>,
    /// How often it has re-executed itself.
    pub reexecs: u32,
    /// The target number of workers.
    pub target: u32,
    /// How many workers are up and not stopping.
    pub acked: u32,
    /// Consecutive deaths before an ACK.
    pub early_deaths: u32,
    /// Resident memory.
    pub memory_bytes: Option<u64>,
}

/// An upgrade or other change in progress.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InProgress {
    /// Its stage.
    pub stage: ProgressStage,
    /// Its generation, worker counts and time.
    #[serde(flatten)]
    pub numbers: Numbers,
}

/// How an upgrade ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LastUpgrade {
    /// The command that began it.
    pub command: UpgradeCommand,
    /// How it ended.
    pub outcome: Outcome,
    /// The generation that it started; the serving one if it did not get that far.
    pub generation: u32,
    /// Its directory of `--chdir`, symbolic links resolved.
    pub release: Option<String>,
    /// The message of the last reply to its client.
    pub message: String,
    /// How long it took since it was requested.
    pub took_ms: u64,
    /// When it ended.
    pub ended_on_ms: i64,
    /// The first failures of its new workers.
    pub failures: Vec<WorkerFailure>,
    /// How many old workers were killed instead of draining, those after its end included.
    pub killed: u32,
}

/// A worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerStatus {
    /// Its slot.
    pub slot: u32,
    /// Its pid.
    pub pid: i32,
    /// Its generation.
    pub generation: u32,
    /// The directory of `--chdir` that it was started in, symbolic links resolved.
    pub release: Option<String>,
    /// Its state.
    pub state: WorkerState,
    /// When it was started.
    pub started_on_ms: i64,
    /// How old it is.
    pub age_ms: u64,
    /// Time from its start to its ACK.
    pub time_to_ack_ms: Option<u64>,
    /// How many workers of its slot exited without being asked to stop.
    pub restarts: u32,
    /// Resident memory.
    pub memory_bytes: Option<u64>,
    /// The step of its schedule, once it was asked to stop.
    pub step: Option<StopStepStatus>,
    /// The signal that it is sent next if it does not stop.
    pub next_signal: Option<String>,
    /// Time left until it is sent; negative if overdue.
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
    /// The address as given, but with the port that the kernel chose.
    pub address: String,
    /// Its kind.
    pub kind: ListenerKind,
    /// Its descriptor number in the master and in every worker.
    pub descriptor: i32,
    /// Its queue, as measured by the kernel.
    pub queue: Option<Queue>,
}

/// The queue of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queue {
    /// Its current length.
    pub depth: u64,
    /// Its maximum length; the kernel admits one connection more.
    pub limit: u64,
    /// The unit of both.
    pub unit: Unit,
}
