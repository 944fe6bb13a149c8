//! A roll-out of new workers: what bounds it, and how far it is.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::state::{Generation, Monotonic, Pid, Slot};

/// `--ack-timeout` unless it is given: programs that load a large application take a minute; one
/// that takes two has hung.
const ACK_TIMEOUT: Duration = Duration::from_secs(120);

/// `--on-canary-timeout` unless it is given: a look at a few pages takes seconds.
const ON_CANARY_TIMEOUT: Duration = Duration::from_secs(60);

/// `--upgrade-max-failures` unless it is given: a small fleet says with three failures that it is
/// no accident; a large one has accidents, so there a tenth of it may fail.
pub const UPGRADE_FAILURES_MIN: u32 = 3;

/// How many failures of a roll-out are told of: the first ones say why, the others repeat it.
pub const FAILURES_TOLD: usize = 8;

/// How much the variables of `--env-file` may be, in bytes of names and values: they may refer to
/// each other, so a short file can mean long ones. execve(2) takes two megabytes of arguments and
/// environment together where the stack has its usual limit.
pub const VARIABLES_MAX: usize = 1024 * 1024;

/// What bounds a roll-out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloutBounds {
    /// `--ack-timeout`: a new worker that was not ACKed for so long counts as failed and is
    /// stopped; `None` waits for ever.
    pub ack_timeout: Option<Duration>,
    /// `--upgrade-timeout`: how long a roll-out may take; `None` bounds it by its failures alone.
    pub upgrade_timeout: Option<Duration>,
    /// `--upgrade-max-failures`: the failure that ends it, at least 1; see
    /// [`UPGRADE_FAILURES_MIN`] when absent.
    pub failures_max: Option<u32>,
    /// `--canary-seconds`: how long the first new worker of a smooth roll-out must have been up
    /// before an old one is told to go.
    pub canary: Duration,
    /// `--on-canary`: a command that must exit 0 then, as words; empty when absent.
    pub on_canary: Vec<OsString>,
    /// `--on-canary-timeout`: how long that command may take.
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
    /// How.
    pub kind: RolloutKind,
    /// The generation that serves until this one does, and again when this one fails.
    pub from: Generation,
    /// When the upgrade was asked for.
    pub asked_at: Monotonic,
    /// When the new generation began; `--upgrade-timeout` runs from here.
    pub began_at: Monotonic,
    /// How far it is.
    pub stage: RolloutStage,
    /// How many new workers have failed.
    pub failure_count: u32,
    /// The first of them, [`FAILURES_TOLD`] at most.
    pub failures: Vec<Failure>,
}

impl Rollout {
    /// One that begins.
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
        }
    }

    /// One of a master that counts no failures and knows no canary, as this one goes on with it.
    pub fn resumed(kind: RolloutKind, from: Generation, began_at: Monotonic) -> Rollout {
        let stage = RolloutStage::Replacing;
        Rollout { stage, ..Rollout::new(kind, from, began_at, began_at) }
    }

    /// The process of `--on-canary`, while it runs.
    pub fn check(&self) -> Option<Pid> {
        match self.stage {
            RolloutStage::Canary { check } => check?.process,
            RolloutStage::Replacing => None,
        }
    }

    /// Whether the first new worker still has to show what it is worth.
    pub fn is_canary(&self) -> bool {
        matches!(self.stage, RolloutStage::Canary { .. })
    }
}

/// How far a roll-out is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RolloutStage {
    /// One new worker runs, and no old one was told to go yet.
    Canary {
        /// `--on-canary`, once it was started.
        check: Option<CanaryCheck>,
    },
    /// Old workers go as new ones come up.
    Replacing,
}

/// The command of `--on-canary`, while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CanaryCheck {
    /// The new worker that it looks at.
    pub worker: Pid,
    /// The process that looks; `None` until it runs.
    pub process: Option<Pid>,
    /// When it has had long enough.
    pub deadline: Monotonic,
    /// Whether it was killed for that.
    pub is_overdue: bool,
}

/// A new worker that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Its pid; `None` when it could not be started.
    pub pid: Option<Pid>,
    /// Its index.
    pub slot: Slot,
    /// How, in words: its exit status or signal, or what it did not do.
    pub what: String,
    /// How long it had lived.
    pub age: Duration,
    /// The end of what it wrote to its standard error, with `--capture-stderr`; of one whose ACK
    /// took too long once it has ended. At most [`crate::state::LAST_WORDS_MAX`] bytes.
    pub last_words: Option<String>,
}

/// What `--chdir` and `--env-file` meant when a generation began. Its workers are started with
/// this, so that no two codes are mixed, whatever the names mean meanwhile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deployment {
    /// The working directory, without symbolic links; `None` without `--chdir`.
    pub directory: Option<PathBuf>,
    /// The variables of `--env-file`, in its order; [`VARIABLES_MAX`] together.
    pub environment: Vec<(OsString, OsString)>,
}
