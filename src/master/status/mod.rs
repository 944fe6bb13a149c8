//! The status of the master, for clients and the metrics file.

pub(super) mod metrics_file;
mod report;
mod update_metrics_file;
