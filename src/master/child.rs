//! The children that are no workers, and how a child ends.

use crate::master::upgrade::preflight::Preflight;
use crate::state::{ExitStatus, Signal};
use crate::sys::process::WaitStatus;
use crate::sys::signal;

/// What a child that is no worker is for; of workers the state knows.
#[derive(Debug)]
pub enum Child {
    /// It is asked whether it can take over.
    Candidate(Box<Preflight>),
    /// It runs the command of `--on-canary`.
    CanaryCheck,
    /// It does something, and only a failure is told.
    Helper(String),
}

/// How a child ended, in the words of the state.
pub fn status(ended: WaitStatus) -> ExitStatus {
    match ended {
        WaitStatus::Exited(code) => ExitStatus::Code(code),
        WaitStatus::Signaled { number, core_dumped } => {
            let signal = signal::name(number).and_then(Signal::parse);
            ExitStatus::Killed { number, signal, core_dumped }
        }
    }
}
