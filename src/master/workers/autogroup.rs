//! The nice levels of autogroups that are still to be set. The kernel lets a master without
//! privileges set one now and then, and the loop must not wait for it.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::time::Duration;

use crate::state::{Monotonic, Pid};
use crate::sys::process;
use crate::sys::session::{self, AUTOGROUP_PAUSE_MILLIS};

/// How long until a level is tried again: the kernel's pause, and two ticks of its slowest clock.
const PAUSE: Duration = Duration::from_millis(AUTOGROUP_PAUSE_MILLIS + 20);

/// How often in a row the kernel may refuse, because another process of this machine is always
/// first, before the master gives up.
const REFUSALS_MAX: u32 = 100;

/// The levels that are still to be set.
#[derive(Debug, Default)]
pub struct AutogroupLevels {
    due: VecDeque<(Pid, i32)>,
    /// `None` while nothing is due.
    try_at: Option<Monotonic>,
    /// In a row.
    refusals: u32,
    is_reported: bool,
}

/// Why a level could not be set.
#[derive(Debug)]
pub struct Failure {
    /// Whose autogroup it is.
    pub pid: Pid,
    /// What it was to be.
    pub level: i32,
    /// The kernel's answer.
    pub error: io::Error,
}

impl AutogroupLevels {
    /// Adds the level of a child, to be set from now on.
    pub fn add(&mut self, pid: Pid, level: i32, now: Monotonic) {
        self.due.push_back((pid, level));
        self.try_at.get_or_insert(now);
    }

    /// When to try the next time; `None` while nothing is due.
    pub fn try_at(&self) -> Option<Monotonic> {
        self.try_at
    }

    /// Sets what is due, as far as the kernel permits. `is_child` says whether a process was not
    /// reaped yet, so that its pid is still its own. Returns the first failure and no later one:
    /// what prevents one level prevents the next.
    pub fn set_due(&mut self, now: Monotonic, is_child: impl Fn(Pid) -> bool) -> Option<Failure> {
        if self.try_at.is_none_or(|at| at > now) {
            return None;
        }
        self.try_at = None;
        let mut failure = None;
        while let Some((pid, level)) = self.due.pop_front() {
            let Err(error) = (if is_child(pid) { set(pid, level) } else { Ok(()) }) else {
                self.refusals = 0;
                continue;
            };
            if error.kind() == ErrorKind::WouldBlock {
                self.refusals += 1;
                if self.refusals < REFUSALS_MAX {
                    self.due.push_front((pid, level));
                    self.try_at = Some(now + PAUSE);
                    break;
                }
                self.due.clear();
                self.refusals = 0;
            }
            failure.get_or_insert(Failure { pid, level, error });
        }
        failure.filter(|_| !std::mem::replace(&mut self.is_reported, true))
    }
}

/// Sets a level where none was set yet: somebody may have set another by hand. A worker that is in
/// somebody else's session, such as the master's, shares its autogroup.
fn set(pid: Pid, level: i32) -> io::Result<()> {
    if session::autogroup_level(pid.0) != Some(0) || !session::is_leader(pid.0) {
        return Ok(());
    }
    match session::set_autogroup_level(pid.0, level) {
        Err(error)
            if error.kind() == ErrorKind::NotFound || process::is_no_such_process(&error) =>
        {
            Ok(())
        }
        outcome => outcome,
    }
}
