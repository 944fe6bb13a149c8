//! How the master is: the document and its shapes.

/// OpenMetrics text, in full.
mod figures;
/// The document of masters in all conditions.
mod reports;
/// The tables, in full.
mod tables;
/// Warnings, of each kind.
mod warnings;
