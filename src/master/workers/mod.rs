//! Starting workers and the helpers around them, and reading their standard error.

mod canary_check;
pub(super) mod deployment;
mod drain_stderr;
mod renice;
mod spawn;
mod start;
pub(super) mod stderr;
