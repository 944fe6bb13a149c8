//! How a command ended, in the words and exit statuses that clients go by.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a command ended. Scripts test the exit status, so a number never changes its meaning; 1 is
/// the client's own: it reached no master, or lost it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// What was asked for is so.
    Done,
    /// The command or its arguments were not understood.
    NotUnderstood,
    /// The master did not begin: nothing has changed.
    Refused,
    /// The new code failed, and the old serves on.
    Failed,
    /// It took longer than it was given.
    TimedOut,
    /// Somebody stopped it.
    Aborted,
    /// Another upgrade took its place.
    Superseded,
    /// The next image could not take over and gave everything back.
    RolledBack,
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
        }
    }

    /// The name, as clients read it.
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
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}
