//! The status of the master: one document, made from the state and from measurements of the
//! kernel, in three formats: tables, JSON and OpenMetrics.
//!
//! `master` does the measuring; there is no I/O here. docs/status.md explains the fields, and
//! docs/status.schema.json their types.

mod document;
mod health;
mod kinds;
mod metrics;
mod progress;
mod report;
mod table;
mod warnings;
mod words;

pub use document::{
    InProgress, LastUpgrade, ListenerStatus, MasterStatus, Queue, Status, StopStepStatus, VERSION,
    Warning, WorkerStatus,
};
pub use kinds::{Health, ListenerKind, Unit, UpgradeCommand, WarningKind, WorkerState};
pub use metrics::metrics;
pub use progress::{failure, milliseconds, numbers, since_request, stage};
pub use report::{Measurements, report};
pub use table::{Style, table};
pub use warnings::{cure, leftover, program};
pub use words::{printable, span};

/// Formats the document as JSON on one line.
pub fn json(status: &Status) -> String {
    // Serializing fails only for maps whose keys are not strings, and there are none.
    serde_json::to_string(status).unwrap_or_default()
}
