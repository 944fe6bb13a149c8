//! An upgrade in progress: the master's own step, then the roll-out of new workers.

use crate::scalar::Scalar;
use crate::state::{ConnectionId, Monotonic, Pid, ReexecMode, RolloutBounds, RolloutKind, State};

/// The schema versions that this release reads, oldest first; it writes the last three of them.
pub const SCHEMA_VERSIONS: &[u16] = if cfg!(feature = "next") { &[1, 2, 3] } else { &[1, 2] };

/// The features that this release knows. A state that uses one is adopted only by a release that
/// knows it by name, so nothing is dropped in silence. All that version 1 of the schema can say is
/// known to everyone who reads it and needs no name here.
pub const FEATURES: &[&str] = match cfg!(feature = "next") {
    true => FEATURES_AND_NEXT,
    false => FEATURES_AND_NEXT.split_at(FEATURES_AND_NEXT.len() - 1).0,
};

/// The features in the order in which they came, and the one that only the next release knows.
const FEATURES_AND_NEXT: &[&str] = &[
    "ack-timeout",
    "upgrade-timeout",
    "upgrade-max-failures",
    "canary",
    "chdir",
    "env-file",
    "metrics-file",
    "pinned",
    "failed-generation",
    "capture-stderr",
    "note",
];

/// This release's version. The build with the cargo feature `next`, which is for tests only, is
/// the release after it.
pub fn release() -> &'static str {
    if cfg!(feature = "next") {
        concat!(env!("CARGO_PKG_VERSION"), "-next")
    } else {
        env!("CARGO_PKG_VERSION")
    }
}

impl State {
    /// The features of [`FEATURES`], in their order, without which this state means something else.
    pub fn features_in_use(&self) -> Vec<&'static str> {
        let (config, bounds) = (&self.config, &self.config.rollout);
        let default = RolloutBounds::default();
        let is_canary_default = bounds.canary == default.canary
            && bounds.on_canary == default.on_canary
            && bounds.on_canary_timeout == default.on_canary_timeout;
        let started = self.workers.values().map(|worker| worker.generation);
        let mut given = started.chain(self.ordered.values().copied());
        let in_use = [
            ("ack-timeout", bounds.ack_timeout != default.ack_timeout),
            ("upgrade-timeout", bounds.upgrade_timeout != default.upgrade_timeout),
            ("upgrade-max-failures", bounds.failures_max != default.failures_max),
            ("canary", !is_canary_default),
            ("chdir", config.chdir.is_some()),
            ("env-file", config.env_file.is_some()),
            ("metrics-file", config.metrics_file.is_some()),
            ("pinned", config.reexec_mode == ReexecMode::Pinned),
            ("failed-generation", given.any(|generation| generation > self.generation)),
            ("capture-stderr", config.capture_stderr),
            #[cfg(feature = "next")]
            ("note", self.note.is_some()),
        ];
        in_use.into_iter().filter(|(_, is_used)| *is_used).map(|(feature, _)| feature).collect()
    }
}

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
        /// The schema version of the state that it was given.
        schema: u16,
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
    /// Whether the next image is to be a Ruby Einhorn. No schema has words for it: it is a fact of
    /// this image until it executes that one.
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
    /// Whether it wants news of the kind that programs read.
    pub wants_events: bool,
}

/// What a candidate says of itself in a preflight.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CandidateReport {
    /// Its pid; another one than that of the process we started means a wrapper without `exec`.
    pub pid: i32,
    /// Its release.
    pub release: String,
    /// The schema versions that it reads.
    pub reads: Vec<u16>,
    /// The features that it knows.
    pub features: Vec<String>,
    /// Whether it could adopt the state that it was given.
    pub has_adopted: bool,
}
