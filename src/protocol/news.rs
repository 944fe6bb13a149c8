//! What a program is told beside the message of a reply, as one JSON object
//! (docs/events.schema.json).

use serde::{Deserialize, Serialize};

use crate::outcome::Outcome;

/// How something goes on, or how it ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum News {
    /// It goes on; more follows.
    Progress(Progress),
    /// It has ended; nothing follows.
    End(End),
}

/// How something goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// What is being done.
    pub stage: NewsStage,
    /// How far it is.
    #[serde(flatten)]
    pub numbers: Numbers,
    /// The line for people.
    pub message: String,
}

/// How something ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct End {
    /// How.
    pub outcome: Outcome,
    /// The exit status that says so.
    pub exit_status: u8,
    /// How far it was.
    #[serde(flatten)]
    pub numbers: Numbers,
    /// The directory of `--chdir` that it was about, symbolic links resolved.
    pub release: Option<String>,
    /// The line for people.
    pub message: String,
    /// The first new workers that failed.
    pub failures: Vec<NewsFailure>,
}

/// How far something is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbers {
    /// The generation that is meant to serve.
    pub generation: u32,
    /// Workers of it that are up and were not told to go.
    pub acked: u32,
    /// How many there should be.
    pub target: u32,
    /// Workers of other generations that were not told to go.
    pub old_left: u32,
    /// New workers of this roll-out that have failed.
    pub failed: u32,
    /// Milliseconds since it was asked for.
    pub elapsed_ms: u64,
}

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NewsStage {
    /// A candidate is asked whether it can take over.
    Preflight,
    /// The master becomes the candidate.
    HandingOver,
    /// One new worker shows what it is worth.
    Canary,
    /// New workers take over from old ones.
    Rollout,
    /// After a failure the old generation comes back to its full strength.
    Restoring,
    /// The number of workers becomes what was asked for.
    Settling,
    /// The master is going down.
    Stopping,
}

impl NewsStage {
    /// Every stage.
    pub const ALL: &[NewsStage] = &[
        NewsStage::Preflight,
        NewsStage::HandingOver,
        NewsStage::Canary,
        NewsStage::Rollout,
        NewsStage::Restoring,
        NewsStage::Settling,
        NewsStage::Stopping,
    ];

    /// The name, as programs read it.
    pub fn name(self) -> &'static str {
        match self {
            NewsStage::Preflight => "preflight",
            NewsStage::HandingOver => "handing_over",
            NewsStage::Canary => "canary",
            NewsStage::Rollout => "rollout",
            NewsStage::Restoring => "restoring",
            NewsStage::Settling => "settling",
            NewsStage::Stopping => "stopping",
        }
    }

    /// A word or two for people.
    pub fn words(self) -> &'static str {
        match self {
            NewsStage::Preflight => "preflight",
            NewsStage::HandingOver => "handing over",
            NewsStage::Canary => "canary",
            NewsStage::Rollout => "roll-out",
            NewsStage::Restoring => "restoring",
            NewsStage::Settling => "settling",
            NewsStage::Stopping => "stopping",
        }
    }
}

/// A new worker that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewsFailure {
    /// Its pid; none when it could not be started.
    pub pid: Option<i32>,
    /// Its index.
    pub slot: u32,
    /// Its exit status or signal, or what it did not do, in words.
    pub what: String,
    /// How long it had lived, in milliseconds.
    pub age_ms: u64,
    /// The last lines of its standard error, where that is captured.
    pub last_words: Option<String>,
}

impl News {
    /// As a JSON object in one line.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The same with another message.
    pub fn with_message(self, message: String) -> News {
        match self {
            News::Progress(progress) => News::Progress(Progress { message, ..progress }),
            News::End(end) => News::End(End { message, ..end }),
        }
    }

    /// Reads what a master has sent.
    ///
    /// # Errors
    /// What is no such object, in words.
    pub fn parse(json: &str) -> Result<News, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }
}
