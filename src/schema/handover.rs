//! The hand-over: everything that passes from one image of the master to the next.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use crate::state::{Config, ConnectionId, Pid, State};

/// Everything that the next image needs to continue where this one stopped.
#[derive(Clone, Debug, PartialEq)]
pub struct Handover {
    /// The release that wrote it.
    pub release: String,
    /// The state of the master.
    pub state: State,
    /// How the first image was started.
    pub origin: Origin,
    /// Every descriptor that is passed on, each number once.
    pub descriptors: Vec<Carried>,
    /// The buffers of the connections, ordered by id.
    pub connections: Vec<CarriedConnection>,
    /// The id that the next connection gets.
    pub next_connection: ConnectionId,
    /// Children that are not workers, and the purpose of each.
    pub helpers: Vec<(Pid, String)>,
    /// Files that the master removes when it exits.
    pub files: Vec<CarriedFile>,
    /// The pipes of `--capture-stderr`: those of workers, then those of workers that have exited,
    /// oldest first.
    pub worker_stderr: Vec<CarriedPipe>,
    /// Log output that has not been written yet.
    pub unlogged: Vec<u8>,
    /// Who has sent what the connections that `-g` has given hold as input, in the order of its
    /// bytes; nothing of one whose senders were not noted.
    pub senders: BTreeMap<ConnectionId, Vec<CarriedSender>>,
}

impl Handover {
    /// A hand-over with default values only, which sections overwrite as they are read.
    pub(super) fn blank() -> Handover {
        Handover {
            release: String::new(),
            state: State::new(Config::new(Vec::new()), Vec::new(), Pid(0), 1),
            origin: Origin::default(),
            descriptors: Vec::new(),
            connections: Vec::new(),
            next_connection: ConnectionId(0),
            helpers: Vec::new(),
            files: Vec::new(),
            worker_stderr: Vec::new(),
            unlogged: Vec::new(),
            senders: BTreeMap::new(),
        }
    }

    /// The number of every descriptor that is passed on.
    pub fn numbers(&self) -> impl Iterator<Item = i32> {
        let worker_stderr = self.worker_stderr.iter().map(|pipe| pipe.number);
        self.descriptors.iter().map(|carried| carried.number).chain(worker_stderr)
    }
}

/// How the master was started, and the process attributes that workers inherit, some of which an
/// exec changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The master's own program as typed, made absolute, symbolic links not resolved.
    pub own_path: PathBuf,
    /// The first word of its command line.
    pub own_name: OsString,
    /// The environment, without the variables that einhorn itself sets.
    pub environment: Vec<(OsString, OsString)>,
    /// The blocked signals: bit n-1 is signal n.
    pub blocked_signals: u64,
    /// The soft limit of open files.
    pub open_files_soft: u64,
    /// The hard limit of open files.
    pub open_files_hard: u64,
    /// The nice level.
    pub nice: i32,
}

/// What a descriptor is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The listening command socket.
    CommandSocket,
    /// The listener at this index in the state.
    Listener(u32),
    /// A connection of the command socket.
    Connection(ConnectionId),
    /// The lock file of the command socket.
    SocketLock,
    /// The lock file of `-f`.
    Lock,
    /// The locked pid file.
    Pidfile,
    /// A pidfd of a worker, which reports its exit even if a wrapper has reaped it.
    Worker(Pid),
    /// A descriptor that the master inherited and keeps open because its children may depend on it.
    Inherited,
}

/// A descriptor that is passed on with the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carried {
    /// Its role.
    pub role: Role,
    /// Its number.
    pub number: i32,
    /// The open file that it must refer to.
    pub identity: Identity,
}

/// What identifies an open file, from fstat(2) and, for sockets, `SO_COOKIE`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// `st_dev`.
    pub device: u64,
    /// `st_ino`.
    pub inode: u64,
    /// The type bits of `st_mode`.
    pub file_type: u32,
    /// `SO_COOKIE` of a socket; 0 for anything else.
    pub cookie: u64,
    /// Whether it is a listening socket.
    pub is_listening: bool,
}

/// The buffers and flags of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CarriedConnection {
    /// Its id, by which its descriptor is found in the table.
    pub id: ConnectionId,
    /// Input that is not a whole request yet, or was not answered yet.
    pub input: Vec<u8>,
    /// Whether it is inside a line that is too long.
    pub is_discarding: bool,
    /// Pending output.
    pub output: Vec<u8>,
    /// Whether `-g` gave it to a worker.
    pub is_given: bool,
    /// Whether the peer has shut down its sending side.
    pub read_closed: bool,
    /// Whether it is closed once its pending output is written.
    pub is_closing: bool,
}

/// Who has sent a part of the input of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CarriedSender {
    /// How many bytes; at least one.
    pub length: u32,
    /// The pid, as the kernel told it; 0 for a process that this one cannot see.
    pub pid: i32,
    /// The user id, as the kernel told it.
    pub uid: u32,
}

/// The pipe that captures a worker's standard error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CarriedPipe {
    /// The worker that it was made for.
    pub pid: Pid,
    /// Whether the worker was reaped; its descendants may still hold the other end.
    pub is_orphan: bool,
    /// The number of its reading end.
    pub number: i32,
    /// The open file that it must refer to.
    pub identity: Identity,
    /// The end of what was read, [`crate::state::CAPTURED_LINE_MAX`] bytes at most.
    pub kept: Vec<u8>,
    /// How many bytes at the end of `kept` are an incomplete line, not passed on yet.
    pub unsent: u32,
}

/// A file that the master removes when it exits, if its path still refers to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CarriedFile {
    /// Its path.
    pub path: PathBuf,
    /// `st_dev`.
    pub device: u64,
    /// `st_ino`.
    pub inode: u64,
}
