//! The roll-out of a new generation: its bounds and its progress.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::state::{Generation, Killed, Monotonic, Pid, Slot};

/// The default of `--ack-timeout`: loading a large application takes a minute; a worker that takes
/// two has hung.
const ACK_TIMEOUT: Duration = Duration::from_secs(120);

/// The default of `--on-canary-timeout`: fetching a few pages takes seconds.
const ON_CANARY_TIMEOUT: Duration = Duration::from_secs(60);

/// The least default of `--upgrade-max-failures`: in a small fleet three failures are no
/// coincidence; in a large fleet some are, so there a tenth of the workers may fail.
pub const UPGRADE_FAILURES_MIN: u32 = 3;

/// How many failures of a roll-out are kept: the first ones show the cause, the others repeat it.
pub const FAILURES_KEPT: usize = 8;

/// The total size of the `--env-file` variables, in bytes of names and values: variables may refer
/// to each other, so a short file can expand to long values. With the usual stack limit, execve(2)
/// accepts two megabytes of arguments and environment together.
pub const VARIABLES_MAX: usize = 1024 * 1024;

/// The bounds of a roll-out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloutBounds {
    /// `--ack-timeout`: a new worker that is not ACKed within this time counts as failed and is
    /// stopped; no limit when `None`.
    pub ack_timeout: Option<Duration>,
    /// `--upgrade-timeout`: how long a roll-out may take; no limit when `None`.
    pub upgrade_timeout: Option<Duration>,
    /// `--upgrade-max-failures`: the number of failures that ends it, at least 1; for the default
    /// see [`UPGRADE_FAILURES_MIN`].
    pub failures_max: Option<u32>,
    /// `--canary-seconds`: how long the first new worker of a smooth roll-out must have been up
    /// before old workers are stopped.
    pub canary: Duration,
    /// `--on-canary`: a command that must then exit 0, split into words; empty when absent.
    pub on_canary: Vec<OsString>,
    /// `--on-canary-timeout`: how long the `--on-canary` command may take.
    pub on_canary_timeout: Duration,
}

impl Default for RolloutBounds {
    fn default() -> RolloutBounds {
        RolloutBounds {
            ack_timeout: Some(ACK_TIMEOUT),
            upgrade_timeout: None,
            failures_max: None,
            canary: Duration::ZERO,
            on_canary: Vec::new(),
            on_canary_timeout: ON_CANARY_TIMEOUT,
        }
    }
}

/// How new workers take over from old ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RolloutKind {
    /// One by one.
    Smooth,
    /// All at once.
    Fleet,
}

/// A roll-out in progress.
#[derive(Clone, Debug, PartialEq)]
pub struct Rollout {
    /// Smooth or fleet.
    pub kind: RolloutKind,
    /// The generation that serves until the new one does, and that is restored if the new one
    /// fails.
    pub from: Generation,
    /// When the upgrade was asked for.
    pub asked_at: Monotonic,
    /// When the new generation began; `--upgrade-timeout` runs from here.
    pub began_at: Monotonic,
    /// Its stage.
    pub stage: RolloutStage,
    /// How many new workers have failed.
    pub failure_count: u32,
    /// The first failures, [`FAILURES_KEPT`] at most.
    pub failures: Vec<Failure>,
    /// The old workers that were killed instead of draining.
    pub killed: Killed,
}

impl Rollout {
    /// A roll-out that begins now.
    pub fn new(
        kind: RolloutKind,
        from: Generation,
        asked_at: Monotonic,
        now: Monotonic,
    ) -> Rollout {
        Rollout {
            kind,
            from,
            asked_at,
            began_at: now,
            stage: match kind {
                RolloutKind::Smooth => RolloutStage::Canary { check: None },
                RolloutKind::Fleet => RolloutStage::Replacing,
            },
            failure_count: 0,
            failures: Vec::new(),
            killed: Killed::default(),
        }
    }

    /// A roll-out taken over from a master that has no canary and counts no failures.
    pub fn resumed(kind: RolloutKind, from: Generation, began_at: Monotonic) -> Rollout {
        let stage = RolloutStage::Replacing;
        Rollout { stage, ..Rollout::new(kind, from, began_at, began_at) }
    }

    /// The process of the `--on-canary` command, while it runs.
    pub fn check(&self) -> Option<Pid> {
        match self.stage {
            RolloutStage::Canary { check } => check?.process,
            RolloutStage::Replacing => None,
        }
    }

    /// Whether the canary is still on trial.
    pub fn is_canary(&self) -> bool {
        matches!(self.stage, RolloutStage::Canary { .. })
    }
}

/// The stage of a roll-out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RolloutStage {
    /// One new worker is on trial, and no old one has been stopped for it.
    Canary {
        /// The `--on-canary` check, once it has begun.
        check: Option<CanaryCheck>,
    },
    /// Old workers are stopped as new ones come up.
    Replacing,
}

/// A run of the `--on-canary` command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CanaryCheck {
    /// The new worker that it checks.
    pub worker: Pid,
    /// Its process; `None` until it has been started.
    pub process: Option<Pid>,
    /// When it is killed.
    pub deadline: Monotonic,
    /// Whether the deadline has passed.
    pub is_overdue: bool,
}

/// The failure of a new worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Its pid; `None` when it could not be started.
    pub pid: Option<Pid>,
    /// Its slot.
    pub slot: Slot,
    /// A description: the exit status or signal, or what it failed to do.
    pub what: String,
    /// How long it had been running.
    pub age: Duration,
    /// With `--capture-stderr`, the last of what it wrote to standard error; if its ACK took too
    /// long, set once it has exited. At most [`crate::state::LAST_WORDS_MAX`] bytes.
    pub last_words: Option<String>,
}

/// What `--chdir` and `--env-file` resolved to when a generation began. All its workers are started
/// with this, so that a generation never mixes code, even if the link or the file has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deployment {
    /// The working directory, without symbolic links; `None` without `--chdir`.
    pub directory: Option<PathBuf>,
    /// The variables of `--env-file`, in file order; [`VARIABLES_MAX`] bytes in total.
    pub environment: Vec<(OsString, OsString)>,
}
