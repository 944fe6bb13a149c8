//! The master becomes its next release, and new workers take over.

pub(crate) mod aborts; // upgrades that are stopped
pub(crate) mod bad_releases; // releases that fail in every way, and hurt nobody
pub(crate) mod canaries; // the first new worker of a smooth upgrade
pub(crate) mod capistrano; // deploys of releases behind a symlink
pub(crate) mod carried; // what travels besides workers
pub(crate) mod clients; // clients and workers that talk across a re-exec
pub(crate) mod deadlines; // timers that no re-exec stops or begins anew
pub(crate) mod downgrade; // to the next release and back
pub(crate) mod env_files; // variables that each generation keeps
pub(crate) mod exec_signals; // signals around the exec
pub(crate) mod hangs; // candidates and wrappers that take their time
pub(crate) mod leaks; // what many upgrades leave as it was
pub(crate) mod links; // --chdir with a symbolic link that leads now here and now there
pub(crate) mod pinned; // a wrapper that runs once, and what it has executed
pub(crate) mod process_attributes; // what an exec changes besides the program
pub(crate) mod refusals; // what is not upgraded to, and why
pub(crate) mod rollback; // a next release that fails after the exec
pub(crate) mod rollouts; // how new workers take over from old ones
pub(crate) mod wrappers; // scripts that run in the master's place
pub(crate) mod zero_loss; // no connection is lost, whatever is upgraded and how often
