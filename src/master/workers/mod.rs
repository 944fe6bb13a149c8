//! Workers, and what else is started beside them.

mod canary_check;
pub(super) mod deployment;
mod renice;
pub(super) mod start;
pub(super) mod stderr;
