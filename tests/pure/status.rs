//! How the master is: the document and its shapes.

/// The tables, in full.
mod tables;
