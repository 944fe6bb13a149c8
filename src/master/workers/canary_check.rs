//! The command of `--on-canary`: whether a new release does well is for it to say.

use crate::decide::Event;
use crate::master::Master;
use crate::master::child::Child;
use crate::master::workers::deployment;
use crate::state::{Generation, Pid};

impl Master {
    /// Starts the command for a worker, in the directory and with the environment of that.
    pub(in crate::master) fn run_check(&mut self, worker: Pid, generation: Generation) {
        let started = deployment::place(&self.state, generation)
            .and_then(|place| self.start_check(worker, generation, place));
        let event = match started {
            Ok(pid) => {
                self.children.insert(Pid(pid), Child::CanaryCheck);
                self.set_session_level(Pid(pid), self.origin.nice);
                Event::CheckStarted { pid: Pid(pid) }
            }
            Err(why) => Event::CheckNotStarted { why: format!("{why:#}") },
        };
        self.events.push_back(event);
    }

    /// Ends the command and everything that it has started.
    pub(in crate::master) fn kill_check(&mut self, check: Pid) {
        self.kill_all_of(check, "--on-canary");
    }
}
