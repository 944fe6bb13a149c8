//! Child processes: reaping them.

use std::io;

use crate::decide::{Event, Level};
use crate::master::Master;
use crate::master::child::{Child, status};
use crate::state::{ExitStatus, Pid, Signal};
use crate::sys::children::{self, Change};
use crate::sys::process;
use crate::sys::signal;

impl Master {
    fn reaped(&mut self, pid: Pid, status: ExitStatus) {
        match self.children.remove(&pid) {
            Some(Child::Candidate(preflight)) => self.candidate_ended(pid, *preflight, status),
            Some(Child::CanaryCheck) => {
                // Processes that the check left running must not outlive it.
                self.kill_group(pid, "what --on-canary has left running");
                self.child_ended(pid, status);
            }
            Some(Child::Helper(_)) if status == ExitStatus::Code(0) => {}
            Some(Child::Helper(what)) => {
                self.log(Level::Error, &format!("Failed {what}: {status}"));
            }
            None => self.child_ended(pid, status),
        }
    }

    pub(super) fn reap_children(&mut self) {
        loop {
            match self.next_change() {
                Ok(true) => {}
                Ok(false) => {
                    self.cannot_reap = false;
                    return;
                }
                Err(error) => {
                    // Retried every turn, but logged only once.
                    if !std::mem::replace(&mut self.cannot_reap, true) {
                        let message = format!("Cannot ask which children have ended: {error}");
                        self.log(Level::Error, &message);
                    }
                    return;
                }
            }
        }
    }

    /// Handles one thing that has happened to a child. Returns whether there was one.
    fn next_change(&mut self) -> io::Result<bool> {
        let Some(change) = children::next()? else { return Ok(false) };
        match change {
            Change::Ended(ended) => {
                let pid = Pid(ended.pid());
                let ended = ended.reap()?;
                self.reaped(pid, status(ended));
            }
            Change::Stopped { pid, number } => {
                // There are four such signals, and each has a name.
                let signal = signal::name(number).and_then(Signal::parse).unwrap_or(Signal::Stop);
                self.events.push_back(Event::Suspended { pid: Pid(pid), signal });
            }
            Change::Continued { pid } => {
                self.events.push_back(Event::Continued { pid: Pid(pid) });
            }
        }
        Ok(true)
    }

    /// Handles the exit of a child that may have been a worker.
    pub(super) fn child_ended(&mut self, pid: Pid, status: ExitStatus) {
        let worker_stderr = self.worker_stderr.as_mut();
        let last_words =
            worker_stderr.map(|worker_stderr| worker_stderr.reaped(pid.0, &mut self.log));
        let last_words = last_words.unwrap_or_default();
        let is_worker = self.state.workers.contains_key(&pid);
        let left = is_worker.then(|| self.left_by(pid)).flatten();
        self.events.push_back(Event::Exited { pid, status, last_words, left });
    }

    /// Kills a process group; an empty group is not an error.
    pub(super) fn kill_group(&mut self, group: Pid, what: &str) {
        match process::kill_group(group.0) {
            Err(error) if !process::is_no_such_process(&error) => {
                self.log(Level::Error, &format!("Cannot kill {what} ({group}): {error}"));
            }
            _ => {}
        }
    }
}
