//! The command of `--on-canary`, which judges whether a new release works.

use crate::decide::Event;
use crate::master::Master;
use crate::master::child::Child;
use crate::master::workers::deployment;
use crate::state::{Generation, Pid};

impl Master {
    /// Starts the command for a worker, in that worker's directory and environment.
    pub(in crate::master) fn run_check(&mut self, worker: Pid, generation: Generation) {
        let started = deployment::worker_directory(&self.state, generation)
            .and_then(|directory| self.start_check(worker, generation, directory));
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

    /// Kills the command and everything that it started.
    pub(in crate::master) fn kill_check(&mut self, check: Pid) {
        self.kill_group(check, "--on-canary");
    }
}
