//! The nice levels of sessions. The kernel weighs the nice level of a process within its autogroup
//! only (sched(7)), and a worker in a session of its own is in one of its own: what counts between
//! workers, the master and everything else is the level of that.

use crate::decide::Level;
use crate::master::Master;
use crate::master::now::now;
use crate::state::Pid;
use crate::sys::session::Leads;

impl Master {
    /// Gives the session of a child the nice level that the child runs at, with the end of this
    /// turn or later.
    pub(in crate::master) fn set_session_level(&mut self, pid: Pid, level: i32) {
        // 0 is what a new autogroup has.
        if self.terminal.leads() == Leads::Session && level != 0 {
            self.autogroup_levels.add(pid, level, now().monotonic);
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

    /// Sets the levels that are due, and tells a failure once.
    pub(in crate::master) fn set_autogroup_levels(&mut self) {
        let (workers, children) = (&self.state.workers, &self.children);
        let is_child = |pid| workers.contains_key(&pid) || children.contains_key(&pid);
        if let Some(failure) = self.autogroup_levels.set_due(now().monotonic, is_child) {
            let message = format!(
                "Cannot set the nice level of the autogroup of {} to {}, so its own level means \
                 nothing outside its session: {}",
                failure.pid, failure.level, failure.error
            );
            self.log(Level::Error, &message);
        }
    }
}
