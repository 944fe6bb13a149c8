//! How the master is, for people and programs: one document, made of the state and of
//! what the kernel says, and its three shapes: a table, JSON and OpenMetrics.
//!
//! The shell gathers what the kernel says; nothing here asks for it. What the fields mean stands in
//! docs/status.md, their types in docs/status.schema.json.

mod document;
mod health;
mod kinds;
mod metrics;
mod progress;
mod report;
mod table;
mod words;

pub use document::{
    InProgress, LastUpgrade, ListenerStatus, MasterStatus, Queue, Status, StopStepStatus, VERSION,
    WorkerStatus,
};
pub use kinds::{Health, ListenerKind, Unit, UpgradeCommand, WorkerState};
pub use metrics::metrics;
pub use progress::{failure, milliseconds, numbers, stage};
pub use report::{Kernel, report};
pub use table::{Style, table};
pub use words::span;

/// The document as JSON, in one line.
pub fn json(status: &Status) -> String {
    // Only maps with keys that are no strings cannot be written, and there is none.
    serde_json::to_string(status).unwrap_or_default()
}
