//! Children that are not workers, and how a child ended.

use crate::master::upgrade::preflight::Preflight;
use crate::state::{ExitStatus, Signal};
use crate::sys::process::WaitStatus;
use crate::sys::signal;

/// What a child other than a worker is for; the state knows the workers.
#[derive(Debug)]
pub enum Child {
    /// A candidate for an upgrade, asked whether it can take over.
    Candidate(Box<Preflight>),
    /// Runs the command of `--on-canary`.
    CanaryCheck,
    /// Runs a helper command for this purpose; only a failure is logged.
    Helper(String),
}

/// A wait status as the state's exit status.
pub fn status(ended: WaitStatus) -> ExitStatus {
    match ended {
        WaitStatus::Exited(code) => ExitStatus::Code(code),
        WaitStatus::Signaled { number, core_dumped } => {
            let signal = signal::name(number).and_then(Signal::parse);
            ExitStatus::Killed { number, signal, core_dumped }
        }
    }
}
