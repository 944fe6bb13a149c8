//! The bounds of a roll-out.

use std::time::Duration;

use crate::schema::codec::Bytes;
use crate::schema::section::section;

section! {
    struct RolloutBounds: Critical "rollout-bounds" {
        ack_timeout: Option<Duration> = state.config.rollout.ack_timeout,
        upgrade_timeout: Option<Duration> = state.config.rollout.upgrade_timeout,
        failures_max: Option<u32> = state.config.rollout.failures_max,
        canary: Duration = state.config.rollout.canary,
        on_canary: Vec<Bytes> = state.config.rollout.on_canary,
        on_canary_timeout: Duration = state.config.rollout.on_canary_timeout,
    }
}
