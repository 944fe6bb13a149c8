//! What travels from one image of the master to the next.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use crate::state::{Config, ConnectionId, Pid, State};

/// Everything that the next image needs to go on where this one stopped.
#[derive(Clone, Debug, PartialEq)]
pub struct Handover {
    /// The release that wrote it.
    pub release: String,
    /// What the master knows.
    pub state: State,
    /// What the first image was started with.
    pub origin: Origin,
    /// Every descriptor that travels, each number once.
    pub descriptors: Vec<Carried>,
    /// The buffers of the connections, in the order of their ids.
    pub connections: Vec<CarriedConnection>,
    /// The id that the next connection gets.
    pub next_connection: ConnectionId,
    /// Children that are no workers, and what each is for.
    pub helpers: Vec<(Pid, String)>,
    /// Files that the master removes when it leaves.
    pub files: Vec<CarriedFile>,
    /// The pipes that `--capture-stderr` has made: those of workers, then those of workers that
    /// have ended, the oldest first.
    pub worker_stderr: Vec<CarriedPipe>,
    /// What the log owes its reader.
    pub unlogged: Vec<u8>,
    /// Who has sent what the connections that `-g` has given hold as input, in the order of its
    /// bytes; nothing of one whose senders were not noted.
    pub senders: BTreeMap<ConnectionId, Vec<CarriedSender>>,
}

impl Handover {
    /// What a state says of which no section says anything.
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

    /// The number of every descriptor that travels.
    pub fn numbers(&self) -> impl Iterator<Item = i32> {
        let worker_stderr = self.worker_stderr.iter().map(|pipe| pipe.number);
        self.descriptors.iter().map(|carried| carried.number).chain(worker_stderr)
    }
}

/// What the master was started with and hands on to workers; an exec changes some of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The master's own program as it was typed, absolute, symbolic links unresolved.
    pub own_path: PathBuf,
    /// The first word of its command line.
    pub own_name: OsString,
    /// The environment, less what einhorn itself sets.
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
    /// The listener of this index in the state.
    Listener(u32),
    /// A connection of the command socket.
    Connection(ConnectionId),
    /// The lock that belongs to the command socket.
    SocketLock,
    /// The lock file of `-f`.
    Lock,
    /// The locked pid file.
    Pidfile,
    /// A pidfd of a worker, by which its end is known even when a wrapper has reaped it.
    Worker(Pid),
    /// Something that the master was started with and keeps open for whoever counts on it.
    Inherited,
}

/// A descriptor that travels under its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carried {
    /// What for.
    pub role: Role,
    /// The number.
    pub number: i32,
    /// What must be found under it.
    pub identity: Identity,
}

/// What tells one open file from every other, by fstat(2) and, for sockets, `SO_COOKIE`.
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

/// A connection between two images: half lines, unsent replies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CarriedConnection {
    /// Its number; its descriptor stands in the table under it.
    pub id: ConnectionId,
    /// What was read and is no whole request yet, or was not answered yet.
    pub input: Vec<u8>,
    /// Inside a line that is too long.
    pub is_discarding: bool,
    /// What is owed to it.
    pub output: Vec<u8>,
    /// `-g` gave it to a worker.
    pub is_given: bool,
    /// The other end will send no more.
    pub read_closed: bool,
    /// It is closed once it has what it is owed.
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

/// A pipe that a worker has as its standard error, between two images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CarriedPipe {
    /// The worker that it was made for.
    pub pid: Pid,
    /// Whether that was reaped; whoever it has started may hold the other end on.
    pub is_orphan: bool,
    /// The number of its reading end.
    pub number: i32,
    /// What must be found under it.
    pub identity: Identity,
    /// The end of what was read, [`crate::state::CAPTURED_LINE_MAX`] bytes at most.
    pub kept: Vec<u8>,
    /// How many bytes at the end of that are no whole line yet, and were not passed on.
    pub unsent: u32,
}

/// A file that the master removes when it leaves, if its name still means it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CarriedFile {
    /// Its name.
    pub path: PathBuf,
    /// `st_dev`.
    pub device: u64,
    /// `st_ino`.
    pub inode: u64,
}
