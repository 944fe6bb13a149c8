//! Upgrading the master itself: preflight, hand-over, roll-back (docs/handover.md).

mod ask;
pub(super) mod candidate;
pub(super) mod exec;
mod handover;
mod image;
pub(super) mod open_files;
mod pin;
pub(super) mod preflight;
pub(super) mod rollback;
pub(super) mod upgrade_check;
