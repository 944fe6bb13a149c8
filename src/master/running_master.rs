//! The running master: everything that it holds. What it does is in the other files of this room,
//! each with its part of `impl Master`.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::os::fd::OwnedFd;

use crate::decide::{Event, Level};
use crate::master::child::Child;
use crate::master::clients::connections::Connections;
use crate::master::log::Log;
use crate::master::status::metrics_file::MetricsFile;
use crate::master::terminal::Terminal;
use crate::master::upgrade::candidate::{Candidate, NextImage};
use crate::master::workers::autogroup::AutogroupLevels;
use crate::master::workers::stderr_to_log::WorkerStderr;
use crate::schema::Origin;
use crate::state::{Monotonic, Pid, State};
use crate::sys::file::OwnedFile;
use crate::sys::poll::Poll;
use crate::sys::signal::{Mask, Signals};

/// The running master.
#[derive(Debug)]
pub struct Master {
    pub(super) state: State,
    pub(super) log: Log,
    /// How the first image was started.
    pub(super) origin: Origin,
    pub(super) terminal: Terminal,
    pub(super) autogroup_levels: AutogroupLevels,
    pub(super) clients: Clients,
    /// The workers' standard error, with `--capture-stderr`.
    pub(super) worker_stderr: Option<WorkerStderr>,
    pub(super) wakeups: Wakeups,
    /// Events not passed to `decide` yet.
    pub(super) events: VecDeque<Event>,
    /// Children other than workers, until they are reaped.
    pub(super) children: BTreeMap<Pid, Child>,
    /// Whether reaping fails, and that was logged.
    pub(super) cannot_reap: bool,
    /// Whether process groups cannot be looked at, and that was logged.
    pub(super) cannot_look: bool,
    pub(super) exit_code: Option<i32>,
    pub(super) upgrade: Upgrade,
    pub(super) resources: Resources,
    pub(super) metrics_file: MetricsFile,
}

/// What the loop waits for.
#[derive(Debug)]
pub struct Wakeups {
    pub(super) poll: Poll,
    pub(super) signals: Signals,
    /// The signal mask during the wait: handled signals are unblocked.
    pub(super) wait_mask: Mask,
}

/// The command socket and its clients.
#[derive(Debug)]
pub struct Clients {
    pub(super) command_socket: OwnedFd,
    /// While set, the command socket is not watched: accepting is paused.
    pub(super) accept_again_at: Option<Monotonic>,
    pub(super) connections: Connections,
    /// How many clients may be connected at once.
    pub(super) limit: usize,
}

/// The upgrade in progress, as far as it needs descriptors.
#[derive(Debug, Default)]
pub struct Upgrade {
    /// The candidate of the last preflight.
    pub(super) candidate: Option<Candidate>,
    /// The image to hand over to at the end of this turn.
    pub(super) handover_due: Option<NextImage>,
}

/// Descriptors held open for the life of the master, and the files that it owns.
#[derive(Debug, Default)]
pub struct Resources {
    /// Workers inherit these; the master only keeps them open.
    pub(super) _listeners: Vec<OwnedFd>,
    /// The lock of the command socket; `None` while another process holds it.
    pub(super) socket_lock: Option<File>,
    /// The lock of `-f`; `None` also where that was not given.
    pub(super) lock: Option<File>,
    /// The locked pid file, if there is one.
    pub(super) pidfile: Option<File>,
    /// Descriptors that the master was started with, kept open for processes that rely on them.
    pub(super) inherited_fds: Vec<OwnedFd>,
    /// This process's own executable by its inode, for a roll-back of the next image.
    pub(super) image: Option<OwnedFd>,
    /// Files to remove on exit.
    pub(super) files: Vec<OwnedFile>,
}

impl Master {
    /// A master before its first event.
    pub(super) fn new(
        state: State,
        log: Log,
        origin: Origin,
        clients: Clients,
        worker_stderr: Option<WorkerStderr>,
        wakeups: Wakeups,
        resources: Resources,
    ) -> Master {
        Master {
            state,
            log,
            origin,
            terminal: Terminal::of_master(),
            autogroup_levels: AutogroupLevels::default(),
            clients,
            worker_stderr,
            wakeups,
            events: VecDeque::new(),
            children: BTreeMap::new(),
            cannot_reap: false,
            cannot_look: false,
            exit_code: None,
            upgrade: Upgrade::default(),
            resources,
            metrics_file: MetricsFile::default(),
        }
    }

    pub(super) fn log(&mut self, level: Level, message: &str) {
        self.log.write(self.state.config.verbosity, level, message);
    }
}
