//! Backpressure on the workers' standard error: read only as fast as the log takes it.

use std::time::Duration;

use crate::master::Master;
use crate::master::now::now;

/// How long an exiting master waits for a slow log reader to take the workers' output.
const DRAIN_ON_EXIT_MAX: Duration = Duration::from_secs(1);

impl Master {
    /// Forwards the workers' output to the log.
    pub(in crate::master) fn drain_worker_stderr(&mut self) {
        if let Some(worker_stderr) = &mut self.worker_stderr {
            worker_stderr.drain(&mut self.log);
        }
    }

    /// Watches the workers' output only while the log keeps up.
    pub(in crate::master) fn watch_worker_stderr(&mut self) {
        if let Some(worker_stderr) = &mut self.worker_stderr {
            worker_stderr.watch(&self.wakeups.poll, !self.log.is_behind());
        }
    }

    /// Forwards the remaining output before the master exits: no process would read it later.
    pub(in crate::master) fn drain_stderr_on_exit(&mut self) {
        let Some(worker_stderr) = &mut self.worker_stderr else { return };
        let deadline = now().monotonic + DRAIN_ON_EXIT_MAX;
        loop {
            let is_more = worker_stderr.drain(&mut self.log);
            let left = deadline.since(now().monotonic);
            // Output already read is written once the log's reader catches up.
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
