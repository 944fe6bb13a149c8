//! The kernel interface: the only room with `unsafe` and the only one that names nix or libc. It
//! knows nothing of einhorn.

#[cfg(test)]
mod alone;
pub mod children;
pub mod clock;
pub mod credentials;
pub mod descriptor;
pub mod exec;
pub mod file;
pub mod group;
pub mod handlers;
pub mod limit;
pub mod log_output;
pub mod memfd;
pub mod pidfd;
pub mod pipe;
pub mod poll;
mod proc_pid;
pub mod process;
pub mod process_attributes;
pub mod queue;
pub mod scm_rights;
pub mod session;
pub mod signal;
pub mod socket;
pub mod spawn;
pub mod subreaper;
pub mod terminal;
pub mod title;
pub mod trusted_path;
pub mod user;
