//! The running master: all that it holds. What it does with it stands in the other files of this
//! room, each with its part of `impl Master`.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::os::fd::OwnedFd;

use crate::decide::{Event, Level};
use crate::master::child::Child;
use crate::master::clients::connections::Connections;
use crate::master::environment::Inheritance;
use crate::master::log::Log;
use crate::master::status::metrics_file::MetricsFile;
use crate::master::upgrade::candidate::{Candidate, Successor};
use crate::master::upgrade::preflight::Preflight;
use crate::master::workers::stderr::Captured;
use crate::state::{Monotonic, Pid, State};
use crate::sys::file::Owned;
use crate::sys::poll::Poll;
use crate::sys::signal::{Mask, Signals};

/// The running master.
#[derive(Debug)]
pub struct Master {
    pub(super) state: State,
    pub(super) log: Log,
    pub(super) inheritance: Inheritance,
    pub(super) command_socket: OwnedFd,
    /// While set, the command socket is not watched.
    pub(super) accept_again_at: Option<Monotonic>,
    pub(super) connections: Connections,
    /// The workers' standard error, with `--capture-stderr`.
    pub(super) captured: Option<Captured>,
    pub(super) poll: Poll,
    pub(super) signals: Signals,
    pub(super) open_mask: Mask,
    /// What has happened and was not told to `decide` yet.
    pub(super) events: VecDeque<Event>,
    /// Those that are no workers, until they are reaped.
    pub(super) children: BTreeMap<Pid, Child>,
    /// The kernel did not tell which children have ended, and that was logged.
    pub(super) cannot_reap: bool,
    pub(super) exit_code: Option<i32>,
    /// A candidate that is being asked.
    pub(super) preflight: Option<Preflight>,
    /// The candidate that was asked last.
    pub(super) candidate: Option<Candidate>,
    /// Whom to hand over to at the end of this turn.
    pub(super) handover_due: Option<Successor>,
    /// The image that this process runs, by its inode: what the next one goes back to.
    pub(super) image: Option<OwnedFd>,
    /// Only held open: the listeners.
    pub(super) _sockets: Vec<OwnedFd>,
    /// The lock that belongs to the command socket, held open for life; `None` while somebody else
    /// has it.
    pub(super) socket_lock: Option<File>,
    /// The same of `-f`; `None` too where nobody has named one.
    pub(super) lock: Option<File>,
    /// The same.
    pub(super) pidfile: Option<File>,
    /// What the master was started with and keeps open for whoever counts on it.
    pub(super) strays: Vec<OwnedFd>,
    /// Removed when it leaves.
    pub(super) files: Vec<Owned>,
    pub(super) metrics_file: MetricsFile,
}

impl Master {
    pub(super) fn log(&mut self, level: Level, message: &str) {
        self.log.write(self.state.config.verbosity, level, message);
    }
}
