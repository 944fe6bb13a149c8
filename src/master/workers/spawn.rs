//! Spawning the workers that `decide` orders.

use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::decide::{Event, Level};
use crate::master::Master;
use crate::master::workers::deployment;
use crate::master::workers::start_process::Started;
use crate::master::workers::stderr_to_log::WorkerStderr;
use crate::state::{ConnectionId, Generation, Pid, Slot};

impl Master {
    /// Spawns a worker and queues the event of its success or failure.
    pub(in crate::master) fn spawn(&mut self, slot: Slot, generation: Generation) {
        let (started, directory) = match self.try_spawn(slot, generation) {
            Ok(started) => started,
            Err(why) => {
                let why = format!("{why:#}");
                return self.events.push_back(Event::SpawnFailed { slot, why });
            }
        };
        let pid = started.process.pid;
        if let Some(error) = started.process.nice_error {
            self.log(Level::Error, &format!("Cannot set the nice level of worker {pid}: {error}"));
        }
        let connection = started.connection.and_then(|ours| self.add_worker_connection(pid, ours));
        self.events.push_back(Event::Spawned { slot, pid: Pid(pid), connection, directory });
        self.set_session_level(Pid(pid), self.worker_level());
        if let Some(level) = self.state.config.nice.worker {
            self.renice(level, pid);
        }
    }

    fn try_spawn(
        &mut self,
        slot: Slot,
        generation: Generation,
    ) -> Result<(Started, Option<PathBuf>)> {
        let directory = deployment::worker_directory(&self.state, generation)?;
        let pipe = self.worker_stderr.as_ref().map(WorkerStderr::pipe).transpose();
        let pipe = pipe.context("cannot make a pipe for its standard error")?;
        // The master's copy of the worker's end is closed on return, so that the pipe ends with its
        // other holders.
        let (ours, theirs) = pipe.unzip();
        let standard_error = theirs.as_ref().map(AsRawFd::as_raw_fd);
        let started = self.start_worker(slot, generation, directory.as_deref(), standard_error)?;
        if let (Some(worker_stderr), Some(ours)) = (&mut self.worker_stderr, ours) {
            worker_stderr.add(started.process.pid, ours);
        }
        Ok((started, directory))
    }

    fn add_worker_connection(&mut self, pid: i32, ours: UnixStream) -> Option<ConnectionId> {
        match self.clients.connections.add(&self.wakeups.poll, ours, true) {
            Ok(id) => Some(id),
            Err(error) => {
                self.log(Level::Error, &format!("Cannot watch worker {pid}'s connection: {error}"));
                None
            }
        }
    }
}
