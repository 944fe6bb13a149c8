//! A Ruby Einhorn before this master, or after it.

mod handback;
pub(super) mod takeover;
