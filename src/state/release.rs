//! What this release is, and what it knows.

use crate::state::{ReexecMode, RolloutBounds, State};

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
