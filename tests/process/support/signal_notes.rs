//! The signals that workers get, as they note them down.

use std::fs;
use std::path::PathBuf;

use nix::sys::signal::Signal;

use crate::support::rig::{Master, Rig};
use crate::support::wait;

/// A folder with a file for each worker that got a signal.
pub(crate) struct Notes(PathBuf);

impl Notes {
    pub(crate) fn new(rig: &Rig) -> Notes {
        Notes(rig.subfolder("notes"))
    }

    /// A master whose workers are up, live until each has got so many signals, whatever they are,
    /// and then exit with status 0.
    pub(crate) fn start<'a>(&self, rig: &'a Rig, options: &[&str], count: usize) -> Master<'a> {
        let note = format!("note={}", self.0.display());
        let mut steps = vec!["hold", "ack"];
        steps.extend(vec![note.as_str(); count]);
        steps.push("exit=0");
        rig.start(&[options, &["-m", "manual"]].concat(), &steps)
    }

    /// The signals that a worker has noted.
    pub(crate) fn of(&self, worker: i32) -> Vec<Signal> {
        let noted = fs::read_to_string(self.0.join(worker.to_string())).unwrap_or_default();
        noted.lines().map(|line| line.parse().unwrap()).collect()
    }

    /// Waits until a worker has noted these signals and no other.
    pub(crate) fn until(&self, worker: i32, signals: &[Signal]) {
        wait::until_some(
            &format!("worker {worker} gets {signals:?}"),
            || (self.of(worker) == signals).then_some(()),
            || format!("{:?}", self.of(worker)),
        );
    }
}
