//! Upgrades: the master's re-exec, the clients that wait, and how the last upgrade ended.

use std::path::PathBuf;
use std::time::Duration;

use crate::outcome::Outcome;
use crate::scalar::Scalar;
use crate::state::{
    ConnectionId, Failure, Generation, Killed, Monotonic, Pid, Realtime, RolloutKind,
};

/// The kind of upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpgradeKind {
    /// Only the master re-executes itself.
    Reload,
    /// The master re-executes itself, then the workers are replaced gradually.
    Smooth,
    /// The master re-executes itself, then a whole new set of workers is started; the old workers
    /// are stopped once all of it is up.
    Fleet,
}

impl UpgradeKind {
    /// The roll-out that follows the re-exec, if any.
    pub fn rollout(self) -> Option<RolloutKind> {
        match self {
            UpgradeKind::Reload => None,
            UpgradeKind::Smooth => Some(RolloutKind::Smooth),
            UpgradeKind::Fleet => Some(RolloutKind::Fleet),
        }
    }
}

/// The stage of the master's re-exec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// A candidate is being asked whether it can take over.
    Preflight {
        /// The candidate; `None` until it runs.
        candidate: Option<Pid>,
        /// When it is killed.
        deadline: Monotonic,
        /// Whether the deadline has passed.
        is_overdue: bool,
    },
    /// The candidate was accepted; the state is about to be handed over.
    HandingOver,
}

/// The master's re-exec in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reexec {
    /// What was asked for, all requests that joined it considered.
    pub kind: UpgradeKind,
    /// When the first request arrived.
    pub asked_at: Monotonic,
    /// Its stage.
    pub stage: Stage,
    /// Whether the next image is to be a Ruby Einhorn.
    pub is_hand_back: bool,
}

/// What a client waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitsFor {
    /// The end of the master's re-exec.
    Reexec,
    /// The end of the roll-out.
    Rollout,
    /// The end of the re-exec and then of the roll-out.
    Upgrade,
    /// The end of all workers before this generation, and of what they leave running.
    Drained {
        /// The generation that serves.
        before: Generation,
    },
    /// The target number of workers being up, and no more running.
    Settled,
    /// The exit of the master.
    Exit,
}

/// A client that gets progress reports and is owed a final reply.
#[derive(Clone, Debug, PartialEq)]
pub struct Waiter {
    /// Its connection.
    pub connection: ConnectionId,
    /// The id of its request.
    pub request_id: Option<Scalar>,
    /// What it waits for.
    pub waits_for: WaitsFor,
    /// Whether it wants machine-readable events.
    pub wants_events: bool,
    /// Whether it then waits until the old workers have drained.
    pub until_drained: bool,
    /// How many workers were killed instead of draining while it waited.
    pub killed_count: u32,
}

/// What a candidate reports in a preflight.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CandidateReport {
    /// Its pid; one that differs from the process we started means a wrapper that does not `exec`.
    pub pid: i32,
    /// Its release.
    pub release: String,
    /// The format of the state that it reads.
    pub format: u16,
    /// Whether it could adopt the state.
    pub has_adopted: bool,
}

/// The record of an upgrade that ended, whatever its outcome.
#[derive(Clone, Debug, PartialEq)]
pub struct EndedUpgrade {
    /// What was asked for.
    pub kind: UpgradeKind,
    /// Its generation; the current one if it did not get as far as a roll-out.
    pub generation: Generation,
    /// What `--chdir` resolved to for it.
    pub directory: Option<PathBuf>,
    /// Its outcome.
    pub outcome: Outcome,
    /// The outcome as text: the final reply to its client.
    pub message: String,
    /// How long it took, from the request.
    pub took: Duration,
    /// When it ended.
    pub ended_on: Realtime,
    /// The first failures of its new workers.
    pub failures: Vec<Failure>,
    /// The old workers that were killed instead of draining before it ended.
    pub killed: Killed,
    /// How many were after it had ended.
    pub killed_later_count: u32,
}

impl EndedUpgrade {
    /// How many old workers were killed instead of draining, those after its end included.
    pub fn killed_count(&self) -> u32 {
        self.killed.count().saturating_add(self.killed_later_count)
    }
}

/// An upgrade whose new workers are up, while it waits for old ones that are expected to be killed
/// by what asked them to stop, so that it can tell.
#[derive(Clone, Debug, PartialEq)]
pub struct EndingUpgrade {
    /// Its record, with an outcome and a message still to come.
    pub ended: EndedUpgrade,
    /// How many new workers failed.
    pub failure_count: u32,
    /// Until when it waits.
    pub deadline: Monotonic,
}
