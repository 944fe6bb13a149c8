//! How the master is, for whoever asks.

pub(super) mod metrics_file;
mod report;
mod update_metrics_file;
