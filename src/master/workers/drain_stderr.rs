//! What workers say on their standard error is heard while whoever reads the log keeps up.

use std::time::Duration;

use crate::master::Master;
use crate::master::now::now;

/// How long a master that leaves waits for a reader who is slow to take what workers have said.
const DRAIN_ON_EXIT_MAX: Duration = Duration::from_secs(1);

impl Master {
    /// Passes on what workers say.
    pub(in crate::master) fn drain_worker_stderr(&mut self) {
        if let Some(worker_stderr) = &mut self.worker_stderr {
            worker_stderr.drain(&mut self.log);
        }
    }

    /// Listens to workers while whoever reads the log keeps up.
    pub(in crate::master) fn watch_worker_stderr(&mut self) {
        if let Some(worker_stderr) = &mut self.worker_stderr {
            worker_stderr.watch(&self.wakeups.poll, !self.log.is_behind());
        }
    }

    /// Passes on what is there before the master leaves: nobody will read it after that.
    pub(in crate::master) fn drain_stderr_on_exit(&mut self) {
        let Some(worker_stderr) = &mut self.worker_stderr else { return };
        let deadline = now().monotonic + DRAIN_ON_EXIT_MAX;
        loop {
            let is_more = worker_stderr.drain(&mut self.log);
            let left = deadline.since(now().monotonic);
            // What was heard is passed on once the log's reader has taken it.
            if !(is_more || self.log.is_behind()) || left.is_zero() {
                return;
            }
            if self.log.is_behind()
                && self.log.wait_until_writable(left, &self.wakeups.wait_mask).is_err()
            {
                return;
            }
        }
    }
}
