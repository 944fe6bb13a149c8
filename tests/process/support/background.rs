//! Work on the side while a test goes on.

use std::thread::Scope;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::rig::Master;

/// Lets a test start threads that wait for the master's answers. If it fails, the master is
/// killed, or they would wait for ever, and the test with them.
pub(crate) fn meanwhile<'env, T>(
    master: &'env Master<'_>,
    work: impl for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
) -> T {
    std::thread::scope(|scope| {
        let _end = EndIfFailed(master.pid());
        work(scope)
    })
}

struct EndIfFailed(i32);

impl Drop for EndIfFailed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // It is a child that nobody has waited for, so the number is its own.
            let _ = kill(Pid::from_raw(self.0), Signal::SIGKILL);
        }
    }
}
