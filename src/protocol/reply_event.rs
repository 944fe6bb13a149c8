//! The events that replies carry for programs, as JSON objects (docs/events.schema.json).

use serde::{Deserialize, Serialize};

use crate::outcome::Outcome;

/// The event of a reply.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum ReplyEvent {
    /// The command is in progress; more replies follow.
    Progress(Progress),
    /// The command has ended.
    End(End),
}

/// The progress of a command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The stage that the command is in.
    pub stage: ProgressStage,
    /// Generation, worker counts and time.
    #[serde(flatten)]
    pub numbers: Numbers,
    /// The message of the reply.
    pub message: String,
}

/// The end of a command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct End {
    /// How it ended.
    pub outcome: Outcome,
    /// The exit status for that outcome.
    pub exit_status: u8,
    /// Generation, worker counts and time.
    #[serde(flatten)]
    pub numbers: Numbers,
    /// The directory of `--chdir` of the upgrade, symbolic links resolved.
    pub release: Option<String>,
    /// The message of the reply.
    pub message: String,
    /// The first failures of new workers.
    pub failures: Vec<WorkerFailure>,
}

/// Generation, worker counts and time of a command in progress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbers {
    /// The current generation.
    pub generation: u32,
    /// Its workers that are up and not stopping.
    pub acked: u32,
    /// The target number of workers.
    pub target: u32,
    /// Workers of other generations that are not stopping.
    pub old_left: u32,
    /// New workers of this roll-out that have failed.
    pub failed: u32,
    /// Milliseconds since it was requested.
    pub elapsed_ms: u64,
}

/// The stage of a command in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProgressStage {
    /// A candidate is checking whether it can take over.
    Preflight,
    /// The master is executing the candidate.
    HandingOver,
    /// The first new worker must pass before others are started.
    Canary,
    /// New workers are replacing old ones.
    Rollout,
    /// After a failed upgrade the old generation is brought back to full strength.
    Restoring,
    /// Old workers are draining after an upgrade.
    Draining,
    /// The number of workers is changing to the target.
    Settling,
    /// The master is shutting down.
    Stopping,
}

impl ProgressStage {
    /// Every stage.
    pub const ALL: &[ProgressStage] = &[
        ProgressStage::Preflight,
        ProgressStage::HandingOver,
        ProgressStage::Canary,
        ProgressStage::Rollout,
        ProgressStage::Restoring,
        ProgressStage::Draining,
        ProgressStage::Settling,
        ProgressStage::Stopping,
    ];

    /// The name in events, documents and metrics.
    pub fn name(self) -> &'static str {
        match self {
            ProgressStage::Preflight => "preflight",
            ProgressStage::HandingOver => "handing_over",
            ProgressStage::Canary => "canary",
            ProgressStage::Rollout => "rollout",
            ProgressStage::Restoring => "restoring",
            ProgressStage::Draining => "draining",
            ProgressStage::Settling => "settling",
            ProgressStage::Stopping => "stopping",
        }
    }

    /// The name in tables and on the live line.
    pub fn words(self) -> &'static str {
        match self {
            ProgressStage::HandingOver => "handing over",
            ProgressStage::Rollout => "roll-out",
            other => other.name(),
        }
    }
}

/// A failure of a new worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerFailure {
    /// Its pid; `None` if it could not be started.
    pub pid: Option<i32>,
    /// Its slot.
    pub slot: u32,
    /// Its exit status or signal, or what it failed to do, in words.
    pub what: String,
    /// Its age in milliseconds.
    pub age_ms: u64,
    /// The last lines of its standard error, if that is captured.
    pub last_words: Option<String>,
}

impl ReplyEvent {
    /// Formats it as a JSON object on one line.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Replaces the message.
    pub fn with_message(self, message: String) -> ReplyEvent {
        match self {
            ReplyEvent::Progress(progress) => {
                ReplyEvent::Progress(Progress { message, ..progress })
            }
            ReplyEvent::End(end) => ReplyEvent::End(End { message, ..end }),
        }
    }

    /// Parses the event of a reply.
    ///
    /// # Errors
    /// Why it is not an event.
    pub fn parse(json: &str) -> Result<ReplyEvent, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }
}
