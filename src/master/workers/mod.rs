//! Starting workers and the helpers around them, and reading their standard error.

pub(super) mod autogroup;
mod canary_check;
pub(super) mod deployment;
mod drain_stderr;
mod renice;
mod session_level;
mod spawn;
mod start_process;
pub(super) mod stderr;
mod worker_environment;
