//! An upgrade: the master's own step, who waits for it, and how the last one ended.

use std::path::PathBuf;
use std::time::Duration;

use crate::outcome::Outcome;
use crate::scalar::Scalar;
use crate::state::{ConnectionId, Failure, Generation, Monotonic, Pid, Realtime, RolloutKind};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpgradeKind {
    /// Only the master re-executes itself.
    Reload,
    /// Then the workers are replaced gradually.
    Smooth,
    /// Then a whole new set of workers is started, and the old ones go when all of it is up.
    Fleet,
}

impl UpgradeKind {
    /// The roll-out that follows the master's own step.
    pub fn rollout(self) -> Option<RolloutKind> {
        match self {
            UpgradeKind::Reload => None,
            UpgradeKind::Smooth => Some(RolloutKind::Smooth),
            UpgradeKind::Fleet => Some(RolloutKind::Fleet),
        }
    }
}

/// How far the master's own step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// A candidate is being asked whether it can take over.
    Preflight {
        /// The candidate; `None` until it runs.
        candidate: Option<Pid>,
        /// When it has had long enough.
        deadline: Monotonic,
        /// Whether it was killed for that.
        is_overdue: bool,
    },
    /// The candidate said yes; the state is about to be handed over.
    HandingOver,
}

/// The master's own step of an upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reexec {
    /// What was asked for, by everyone who joined.
    pub kind: UpgradeKind,
    /// When it was asked for, by the first who did.
    pub asked_at: Monotonic,
    /// How far it is.
    pub stage: Stage,
    /// Whether the next image is to be a Ruby Einhorn.
    pub is_hand_back: bool,
}

/// What a client waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitsFor {
    /// The master's own step.
    Reexec,
    /// The last new worker.
    Rollout,
    /// The master's own step, and then the last new worker.
    Upgrade,
    /// That as many workers are up as are wanted, and no more.
    Settled,
    /// The end of the master.
    Exit,
}

/// A client that is owed the last line of something that goes on.
#[derive(Clone, Debug, PartialEq)]
pub struct Waiter {
    /// Who.
    pub connection: ConnectionId,
    /// The id of its request.
    pub request_id: Option<Scalar>,
    /// For what.
    pub waits_for: WaitsFor,
    /// Whether its replies carry events.
    pub wants_events: bool,
}

/// What a candidate says of itself in a preflight.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CandidateReport {
    /// Its pid; another one than that of the process we started means a wrapper without `exec`.
    pub pid: i32,
    /// Its release.
    pub release: String,
    /// The format of the state that it reads.
    pub format: u16,
    /// Whether it could adopt the state that it was given.
    pub has_adopted: bool,
}

/// How the last upgrade ended, whatever became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct EndedUpgrade {
    /// What was asked for.
    pub kind: UpgradeKind,
    /// The generation that it was about; the serving one when it never got so far.
    pub generation: Generation,
    /// The directory of `--chdir` that it was about.
    pub directory: Option<PathBuf>,
    /// How it ended.
    pub outcome: Outcome,
    /// The same in words: the last line that its client got.
    pub message: String,
    /// How long it took from when it was asked for.
    pub took: Duration,
    /// When it ended.
    pub ended_on: Realtime,
    /// The first of its new workers that failed.
    pub failures: Vec<Failure>,
}
