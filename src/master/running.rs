//! The running master: all that it holds. What it does with it stands in the other files of this
//! room, each with its part of `impl Master`.

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
use crate::master::workers::stderr::WorkerStderr;
use crate::schema::Origin;
use crate::state::{Monotonic, Pid, State};
use crate::sys::file::Owned;
use crate::sys::poll::Poll;
use crate::sys::signal::{Mask, Signals};

/// The running master.
#[derive(Debug)]
pub struct Master {
    pub(super) state: State,
    pub(super) log: Log,
    /// What it was started with.
    pub(super) origin: Origin,
    pub(super) terminal: Terminal,
    pub(super) autogroup_levels: AutogroupLevels,
    pub(super) clients: Clients,
    /// The workers' standard error, with `--capture-stderr`.
    pub(super) worker_stderr: Option<WorkerStderr>,
    pub(super) wakeups: Wakeups,
    /// What has happened and was not told to `decide` yet.
    pub(super) events: VecDeque<Event>,
    /// Those that are no workers, until they are reaped.
    pub(super) children: BTreeMap<Pid, Child>,
    /// The kernel did not tell which children have ended, and that was logged.
    pub(super) cannot_reap: bool,
    pub(super) exit_code: Option<i32>,
    pub(super) upgrade: Upgrade,
    pub(super) held: Held,
    pub(super) metrics_file: MetricsFile,
}

/// What the loop waits for.
#[derive(Debug)]
pub struct Wakeups {
    pub(super) poll: Poll,
    pub(super) signals: Signals,
    /// In force while it waits.
    pub(super) open_mask: Mask,
}

/// Those who speak to the master.
#[derive(Debug)]
pub struct Clients {
    pub(super) command_socket: OwnedFd,
    /// While set, the command socket is not watched.
    pub(super) accept_again_at: Option<Monotonic>,
    pub(super) connections: Connections,
}

/// How far the next image is.
#[derive(Debug, Default)]
pub struct Upgrade {
    /// The candidate that was asked last.
    pub(super) candidate: Option<Candidate>,
    /// Whom to hand over to at the end of this turn.
    pub(super) handover_due: Option<NextImage>,
}

/// What is held open, and the files that are the master's.
#[derive(Debug, Default)]
pub struct Held {
    /// Only held open.
    pub(super) _listeners: Vec<OwnedFd>,
    /// The lock that belongs to the command socket, held open for life; `None` while somebody else
    /// has it.
    pub(super) socket_lock: Option<File>,
    /// The same of `-f`; `None` too where nobody has named one.
    pub(super) lock: Option<File>,
    /// The same.
    pub(super) pidfile: Option<File>,
    /// What the master was started with and keeps open for whoever counts on it.
    pub(super) inherited_fds: Vec<OwnedFd>,
    /// The image that this process runs, by its inode: what the next one goes back to.
    pub(super) image: Option<OwnedFd>,
    /// Removed when it leaves.
    pub(super) files: Vec<Owned>,
}

impl Master {
    /// One to which nothing has happened yet.
    pub(super) fn new(
        state: State,
        log: Log,
        origin: Origin,
        clients: Clients,
        worker_stderr: Option<WorkerStderr>,
        wakeups: Wakeups,
        held: Held,
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
            exit_code: None,
            upgrade: Upgrade::default(),
            held,
            metrics_file: MetricsFile::default(),
        }
    }

    pub(super) fn log(&mut self, level: Level, message: &str) {
        self.log.write(self.state.config.verbosity, level, message);
    }
}
