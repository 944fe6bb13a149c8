//! What the operator asked for.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::schema::codec::{Bytes, list, nanos};
use crate::schema::v1;
use crate::state;

/// The options, defaults filled in.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::schema) struct Config {
    pub first: v1::Config,
    pub reexec_mode: ReexecMode,
    pub rollout: RolloutBounds,
    pub chdir: Option<Bytes>,
    pub env_file: Option<Bytes>,
    pub metrics_file: Option<Bytes>,
    pub capture_stderr: bool,
}

/// What a re-exec runs.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::schema) enum ReexecMode {
    Exec,
    Pinned,
}

/// What bounds a roll-out.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::schema) struct RolloutBounds {
    pub ack_timeout_ns: Option<u64>,
    pub upgrade_timeout_ns: Option<u64>,
    pub failures_max: Option<u32>,
    pub canary_ns: u64,
    pub on_canary: Vec<Bytes>,
    pub on_canary_timeout_ns: u64,
}

impl Default for RolloutBounds {
    fn default() -> RolloutBounds {
        RolloutBounds::from(&state::RolloutBounds::default())
    }
}

impl From<&state::Config> for Config {
    fn from(config: &state::Config) -> Config {
        Config {
            first: config.into(),
            reexec_mode: match config.reexec_mode {
                state::ReexecMode::Exec => ReexecMode::Exec,
                state::ReexecMode::Pinned => ReexecMode::Pinned,
            },
            rollout: RolloutBounds::from(&config.rollout),
            chdir: config.chdir.as_ref().map(Bytes::from),
            env_file: config.env_file.as_ref().map(Bytes::from),
            metrics_file: config.metrics_file.as_ref().map(Bytes::from),
            capture_stderr: config.capture_stderr,
        }
    }
}

impl From<Config> for state::Config {
    fn from(wire: Config) -> state::Config {
        let Config { first, reexec_mode, rollout, chdir, env_file, metrics_file, capture_stderr } =
            wire;
        state::Config {
            reexec_mode: match reexec_mode {
                ReexecMode::Exec => state::ReexecMode::Exec,
                ReexecMode::Pinned => state::ReexecMode::Pinned,
            },
            rollout: rollout.into(),
            chdir: chdir.map(Into::into),
            env_file: env_file.map(Into::into),
            metrics_file: metrics_file.map(Into::into),
            capture_stderr,
            ..first.into()
        }
    }
}

impl From<&state::RolloutBounds> for RolloutBounds {
    fn from(bounds: &state::RolloutBounds) -> RolloutBounds {
        let state::RolloutBounds {
            ack_timeout,
            upgrade_timeout,
            failures_max,
            canary,
            on_canary,
            on_canary_timeout,
        } = bounds;
        RolloutBounds {
            ack_timeout_ns: ack_timeout.map(nanos),
            upgrade_timeout_ns: upgrade_timeout.map(nanos),
            failures_max: *failures_max,
            canary_ns: nanos(*canary),
            on_canary: list(on_canary),
            on_canary_timeout_ns: nanos(*on_canary_timeout),
        }
    }
}

impl From<RolloutBounds> for state::RolloutBounds {
    fn from(wire: RolloutBounds) -> state::RolloutBounds {
        let RolloutBounds {
            ack_timeout_ns,
            upgrade_timeout_ns,
            failures_max,
            canary_ns,
            on_canary,
            on_canary_timeout_ns,
        } = wire;
        state::RolloutBounds {
            ack_timeout: ack_timeout_ns.map(Duration::from_nanos),
            upgrade_timeout: upgrade_timeout_ns.map(Duration::from_nanos),
            failures_max,
            canary: Duration::from_nanos(canary_ns),
            on_canary: list(on_canary),
            on_canary_timeout: Duration::from_nanos(on_canary_timeout_ns),
        }
    }
}
