//! Taking over from a Ruby Einhorn, and handing back to one.

mod handback;
pub(super) mod takeover;
