//! The command of `--on-canary`: whether a new release does well is for it to say.

use crate::decide::{Event, Level};
use crate::master::{Master, deployment};
use crate::state::{Generation, Pid};
use crate::sys::{process, signal};

impl Master {
    /// Starts the command for a worker, in the directory and with the environment of that.
    pub(super) fn run_check(&mut self, worker: Pid, generation: Generation) {
        let started = deployment::place(&self.state, generation)
            .and_then(|place| self.inheritance.start_check(&self.state, worker, generation, place));
        self.events.push_back(match started {
            Ok(pid) => Event::CheckStarted { pid: Pid(pid) },
            Err(why) => Event::CheckNotStarted { why },
        });
    }

    /// Ends the command and everything that it has started.
    pub(super) fn kill_check(&mut self, check: Pid) {
        let number = signal::number("KILL").unwrap_or(9);
        if let Err(error) = process::kill_group(check.0, number) {
            self.log(Level::Error, &format!("Cannot kill --on-canary ({check}): {error}"));
        }
    }
}
