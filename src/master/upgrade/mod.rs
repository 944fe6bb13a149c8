//! How the master becomes its next release, and comes from the one before (docs/handover.md).

mod ask;
pub(super) mod candidate;
pub(super) mod check;
pub(super) mod exec;
mod handover;
mod image;
pub(super) mod open_files;
mod pin;
pub(super) mod preflight;
pub(super) mod rollback;
