//! The status of the master, for clients and the metrics file.

mod measurements;
pub(super) mod metrics_file;
mod update_metrics_file;
