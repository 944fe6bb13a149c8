//! How the master is, for whoever asks.

mod keep_metrics;
pub(super) mod metrics_file;
mod report;
