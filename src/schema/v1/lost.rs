//! What version 1 has no words for and nobody may miss.
//!
//! The rest of what version 2 adds is left behind in silence: nobody has asked for it, or it is
//! history (`state-schema/README.md` says what, and what follows from that).

use crate::schema::v2::{ReexecMode, RolloutBounds, State};

/// The first feature in use that a reader of version 1 would not honour; the same as the first of
/// `state::State::features_in_use` that came with version 2.
pub(super) fn feature_in_use(state: &State) -> Option<&'static str> {
    let config = &state.config;
    let (bounds, default) = (&config.rollout, &RolloutBounds::default());
    let is_canary_default = bounds.canary_ns == default.canary_ns
        && bounds.on_canary == default.on_canary
        && bounds.on_canary_timeout_ns == default.on_canary_timeout_ns;
    let started = state.workers.iter().map(|worker| worker.first.generation);
    let mut given = started.chain(state.ordered.iter().map(|order| order.generation));
    let in_use = [
        ("ack-timeout", bounds.ack_timeout_ns != default.ack_timeout_ns),
        ("upgrade-timeout", bounds.upgrade_timeout_ns != default.upgrade_timeout_ns),
        ("upgrade-max-failures", bounds.failures_max != default.failures_max),
        ("canary", !is_canary_default),
        ("chdir", config.chdir.is_some()),
        ("env-file", config.env_file.is_some()),
        ("metrics-file", config.metrics_file.is_some()),
        ("pinned", matches!(config.reexec_mode, ReexecMode::Pinned)),
        ("failed-generation", given.any(|generation| generation > state.generation)),
        ("capture-stderr", config.capture_stderr),
    ];
    in_use.into_iter().find(|(_, is_used)| *is_used).map(|(feature, _)| feature)
}
