//! Starting workers and the helpers around them, and reading their standard error.

pub(super) mod autogroup;
mod canary_check;
pub(super) mod deployment;
mod renice;
mod session_level;
mod spawn;
mod start_process;
mod stderr_backpressure;
pub(super) mod stderr_to_log;
mod worker_environment;
