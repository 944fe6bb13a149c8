//! How a command ended: the names and exit statuses that clients rely on.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a command ended. Scripts test the exit status, so a number never changes its meaning; 1 is
/// reserved for the client, which could not reach the master or lost the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The command succeeded.
    Done,
    /// The command is unknown or its arguments are invalid.
    NotUnderstood,
    /// The master did not begin; nothing has changed.
    Refused,
    /// The new code failed; the old code is still serving.
    Failed,
    /// It exceeded its time limit.
    TimedOut,
    /// A client aborted it.
    Aborted,
    /// Another upgrade took its place.
    Superseded,
    /// The next image could not take over and returned control to the previous one.
    RolledBack,
    /// The command succeeded, but old workers that had been up were killed instead of draining.
    Killed,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: &[Outcome] = &[
        Outcome::Done,
        Outcome::NotUnderstood,
        Outcome::Refused,
        Outcome::Failed,
        Outcome::TimedOut,
        Outcome::Aborted,
        Outcome::Superseded,
        Outcome::RolledBack,
        Outcome::Killed,
    ];

    /// The exit status of `einhornsh`.
    pub fn exit_status(self) -> u8 {
        match self {
            Outcome::Done => 0,
            Outcome::NotUnderstood => 2,
            Outcome::Refused => 3,
            Outcome::Failed => 4,
            Outcome::TimedOut => 5,
            Outcome::Aborted | Outcome::Superseded => 6,
            Outcome::RolledBack => 7,
            Outcome::Killed => 8,
        }
    }

    /// The name in events and documents.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Done => "done",
            Outcome::NotUnderstood => "not_understood",
            Outcome::Refused => "refused",
            Outcome::Failed => "failed",
            Outcome::TimedOut => "timed_out",
            Outcome::Aborted => "aborted",
            Outcome::Superseded => "superseded",
            Outcome::RolledBack => "rolled_back",
            Outcome::Killed => "killed",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}
