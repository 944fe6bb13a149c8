//! The command of `--on-canary`: whether a new release does well is for it to say.

use crate::decide::Event;
use crate::master::Master;
use crate::master::workers::deployment;
use crate::state::{Generation, Pid, Rollout};

impl Master {
    /// Starts the command for a worker, in the directory and with the environment of that.
    pub(in crate::master) fn run_check(&mut self, worker: Pid, generation: Generation) {
        let started = deployment::place(&self.state, generation)
            .and_then(|place| self.inheritance.start_check(&self.state, worker, generation, place));
        self.events.push_back(match started {
            Ok(pid) => Event::CheckStarted { pid: Pid(pid) },
            Err(why) => Event::CheckNotStarted { why },
        });
    }

    /// Ends the command and everything that it has started.
    pub(in crate::master) fn kill_check(&mut self, check: Pid) {
        self.kill_all_of(check.0, "--on-canary");
    }

    /// Whether a child that has ended is the command; what it has left running must not outlive its
    /// purpose.
    pub(in crate::master) fn end_check(&mut self, pid: i32) {
        let check = self.state.rollout.as_ref().and_then(Rollout::check);
        if check == Some(Pid(pid)) {
            self.kill_all_of(pid, "what --on-canary has left running");
        }
    }
}
