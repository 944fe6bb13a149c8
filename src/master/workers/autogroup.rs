//! The nice levels of sessions. The kernel weighs the nice level of a process within its autogroup
//! only (sched(7)), and a worker in a session of its own is in one of its own: what counts between
//! workers, the master and everything else is the level of that.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::time::Duration;

use crate::decide::Level;
use crate::master::Master;
use crate::master::now::now;
use crate::state::{Monotonic, Pid};
use crate::sys::process;
use crate::sys::session::{self, AUTOGROUP_PAUSE_MILLIS, Leads};

/// How long until a level is tried again: the kernel's pause, and two ticks of its slowest clock.
const PAUSE: Duration = Duration::from_millis(AUTOGROUP_PAUSE_MILLIS + 20);

/// How often in a row the kernel may put us off, because somebody else on this machine is always
/// first, before nothing is tried any more.
const REFUSALS_MAX: u32 = 100;

/// The levels that are still to be set.
#[derive(Debug, Default)]
pub struct AutogroupLevels {
    due: VecDeque<(Pid, i32)>,
    /// `None` while nothing is due.
    try_at: Option<Monotonic>,
    refusals: u32,
    has_told: bool,
}

impl AutogroupLevels {
    fn add(&mut self, pid: Pid, level: i32) {
        self.due.push_back((pid, level));
        self.try_at.get_or_insert(now().monotonic);
    }

    /// When to try the next time; `None` while nothing is due.
    pub fn try_at(&self) -> Option<Monotonic> {
        self.try_at
    }
}

impl Master {
    /// Gives the session of a child the nice level that the child runs at, with the end of this
    /// turn or later.
    pub(in crate::master) fn set_session_level(&mut self, pid: Pid, level: i32) {
        // 0 is what a new autogroup has.
        if self.terminal.leads() == Leads::Session && level != 0 {
            self.autogroup_levels.add(pid, level);
        }
    }

    /// The same for the workers of the image before this one, which may have left it undone.
    pub(in crate::master) fn set_adopted_session_levels(&mut self) {
        let workers: Vec<Pid> = self.state.workers.keys().copied().collect();
        let level = self.worker_level();
        for pid in workers {
            self.set_session_level(pid, level);
        }
    }

    /// Sets the levels that are due, as far as the kernel lets us: where the master is not
    /// privileged, one in a tenth of a second, and the loop goes on meanwhile.
    pub(in crate::master) fn set_autogroup_levels(&mut self) {
        let now = now().monotonic;
        if self.autogroup_levels.try_at.is_none_or(|at| at > now) {
            return;
        }
        self.autogroup_levels.try_at = None;
        while let Some((pid, level)) = self.autogroup_levels.due.pop_front() {
            // One that was reaped has left its number to others.
            if !self.state.workers.contains_key(&pid) && !self.children.contains_key(&pid) {
                continue;
            }
            match set(pid, level) {
                Ok(()) => self.autogroup_levels.refusals = 0,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.autogroup_levels.refusals += 1;
                    if self.autogroup_levels.refusals < REFUSALS_MAX {
                        self.autogroup_levels.due.push_front((pid, level));
                        self.autogroup_levels.try_at = Some(now + PAUSE);
                        return;
                    }
                    self.tell_no_autogroup_level(pid, level, &error);
                    self.autogroup_levels.due.clear();
                    self.autogroup_levels.refusals = 0;
                }
                Err(error) if error.kind() == ErrorKind::NotFound || process::is_gone(&error) => {}
                Err(error) => self.tell_no_autogroup_level(pid, level, &error),
            }
        }
    }

    /// Once: what keeps us from one keeps us from the next.
    fn tell_no_autogroup_level(&mut self, pid: Pid, level: i32, error: &io::Error) {
        if !std::mem::replace(&mut self.autogroup_levels.has_told, true) {
            let message = format!(
                "Cannot set the nice level of the autogroup of {pid} to {level}, so its own level \
                 means nothing outside its session: {error}"
            );
            self.log(Level::Error, &message);
        }
    }
}

/// Sets a level where none was set yet: somebody may have set another by hand. A worker that is in
/// somebody else's session, such as the master's, shares its autogroup.
fn set(pid: Pid, level: i32) -> io::Result<()> {
    match session::autogroup_level(pid.0) {
        Some(0) if session::is_leader(pid.0) => session::set_autogroup_level(pid.0, level),
        _ => Ok(()),
    }
}
