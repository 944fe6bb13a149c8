//! Taking over from a Ruby master: reads the state that it left in a pipe, inspects the
//! descriptors, and acquires what the original does not hold (docs/migrating.md).

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, IntoRawFd, RawFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, anyhow, bail};

use crate::cli;
use crate::decide::Level;
use crate::master::command_socket::COMMAND_BACKLOG;
use crate::master::descriptors::{carried_file, identity};
use crate::master::environment::variable;
use crate::master::launch::Launch;
use crate::master::now::now;
use crate::master::pid_file::PIDFILE_MAX;
use crate::master::source::FIRST_CONNECTION;
use crate::ruby::{self, Facts, Found, Original, Parentage, Takeover};
use crate::schema::{self, Handover, Role};
use crate::state::{Family, Pid};
use crate::sys::file::{self, OwnedFile};
use crate::sys::trusted_path::{Access, Entry};
use crate::sys::{descriptor, limit, memfd, pipe, process, socket};

/// How long the process that writes the state into the pipe may take; it has nothing else to do.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// A line to log, with its level.
pub type Note = (Level, String);

/// How long a check waits for the Ruby master that runs it to write its state.
const PEEK_TIMEOUT: Duration = Duration::from_secs(5);

/// Reads the state from a descriptor: a pipe of a Ruby master, or a memfd of einhorn's own.
///
/// # Errors
/// It cannot be read, or is too long.
pub fn read_state(number: RawFd) -> Result<Vec<u8>> {
    let (bytes, max) = match pipe::is_reading_end(number) {
        true => (pipe::read_to_end(number, ruby::STATE_MAX, READ_TIMEOUT), ruby::STATE_MAX),
        false => (memfd::read_all(number, schema::STATE_MAX), schema::STATE_MAX),
    };
    bytes.map_err(|error| match error.kind() {
        io::ErrorKind::FileTooLarge => {
            anyhow!("the state in descriptor {number} has more than {max} bytes")
        }
        io::ErrorKind::NotSeekable => {
            anyhow!("descriptor {number} is neither a pipe nor a file")
        }
        _ => anyhow!("cannot read the state under {number}: {error}"),
    })
}

/// Checks whether the state could be taken over, without taking anything over.
///
/// # Errors
/// Why it could not, naming the field.
pub fn check(bytes: &[u8], launch: &Launch, number: RawFd) -> Result<Takeover> {
    let original = read(bytes)?;
    let parent = process::own_parent();
    if is_grandchild(&original, parent) {
        bail!(
            "the command that the Ruby master runs starts einhorn as a child: its last \
                    command must be run with `exec`"
        );
    }
    let facts = facts(&original, launch, number, parent);
    let taken = take_over(&original, &facts)?;
    // A dump cut at the end is still valid; a client that it lacks is the only trace.
    let bound = socket::kind(original.command_socket()).and_then(|kind| kind.path);
    let is_client = |number: i32| {
        let kind = socket::kind(number).filter(|kind| bound.is_some() && kind.path == bound);
        kind.is_some() && identity(number).is_ok_and(|found| !found.is_listening)
    };
    match facts.inherited_fds.iter().find(|(number, _)| is_client(*number)) {
        None => Ok(taken),
        Some((number, _)) => Err(anyhow!(
            "the Ruby master's state: it is cut short: descriptor {number} is a client of its \
             command socket, and `:persistent_descriptors:` has none of that number"
        )),
    }
}

/// Whether the master is this process's grandparent instead of its parent.
fn is_grandchild(original: &Original, parent: i32) -> bool {
    let Ok(Some(grandparent)) = process::parent_of(parent) else { return false };
    if has_master_title(parent) != has_master_title(grandparent) {
        return has_master_title(grandparent);
    }
    let mut pids = original.workers().peekable();
    let is_sibling =
        |pid: i32| process::parent_of(pid).is_ok_and(|found| found == Some(grandparent));
    grandparent > 1 && pids.peek().is_some() && pids.all(is_sibling)
}

/// Whether a process has the title that the original sets for itself.
fn has_master_title(pid: i32) -> bool {
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|name| name.starts_with(b"einhorn: "))
}

/// Builds the state of a master that continues from the Ruby one, and the lines to log. There is no
/// roll-back from here: the pid file is locked, and the command socket and connections are made
/// non-blocking.
///
/// # Errors
/// Why it cannot continue, naming the field.
pub fn adopt(bytes: &[u8], launch: &Launch, state_fd: RawFd) -> Result<(Handover, Vec<Note>)> {
    let original = read(bytes)?;
    let mut facts = facts(&original, launch, state_fd, process::own_pid());
    let mut notes = Vec::new();
    let pidfile = original.file_path("pid", &facts).map_err(Error::msg)?;
    let pidfile = claim_pidfile(&pidfile, facts.master_pid).map_err(|why| {
        let note = format!("The pid file {} is left alone: {why:#}", pidfile.display());
        notes.push((Level::Error, note));
    });
    if let Ok((open, _)) = &pidfile {
        let found = identity(open.as_raw_fd())?;
        facts.files.push((Role::Pidfile, open.as_raw_fd(), found));
    }
    let Takeover { mut handover, notes: from_state } = take_over(&original, &facts)?;
    notes.extend(from_state.into_iter().map(|note| (Level::Info, note)));
    prepare_sockets(&original);
    let owned = pidfile.map(|(open, owned)| {
        let _ = open.into_raw_fd();
        owned
    });
    let path = &handover.state.config.socket_path;
    // The path is bound by this very socket, so that the file is removed on exit like any that the
    // master owns.
    let command_socket =
        bound_path(&original, &launch.directory).filter(|bound| bound == path).and_then(|path| {
            let found = Entry::at(&path).ok()?.stat().ok()??;
            Some(OwnedFile::found(&path, &found))
        });
    let owned = command_socket.into_iter().chain(owned);
    handover.files = owned.map(|file| carried_file(&file)).collect();
    Ok((handover, notes))
}

fn read(bytes: &[u8]) -> Result<Original> {
    Original::read(bytes).map_err(Error::msg).context("the Ruby master's state")
}

/// Converts the state to einhorn's own, and checks that it can be encoded for a hand-over.
fn take_over(original: &Original, facts: &Facts) -> Result<Takeover> {
    let taken = original.take_over(facts);
    let taken = taken.map_err(Error::msg).context("the Ruby master's state")?;
    schema::encode(&taken.handover, None, None)?;
    Ok(taken)
}

fn facts(original: &Original, launch: &Launch, state_fd: RawFd, master_pid: i32) -> Facts {
    let open_files = limit::open_files().unwrap_or(limit::Limit::open_files(1024, 1024));
    let numbers: Vec<i32> = original.descriptors().iter().map(|(number, _)| *number).collect();
    let found = numbers.iter().filter_map(|number| Some((*number, inspect(*number)?)));
    let is_inherited = |n: &&i32| !numbers.contains(n) && **n != state_fd;
    let inherited_fds = launch.open_at_start.iter().filter(is_inherited);
    let tmpdir = variable(&launch.environment, "TMPDIR");
    let parentage = |pid: i32| match process::parent_of(pid) {
        Ok(Some(parent)) if parent == master_pid => Parentage::Ours,
        Ok(Some(_)) => Parentage::Foreign,
        // Nothing is known of it; adoption asks the kernel whether it is alive.
        Ok(None) | Err(_) => Parentage::Gone,
    };
    Facts {
        master_pid: Pid(master_pid),
        now: now(),
        processor_count: limit::processor_count(),
        origin: launch.origin(open_files),
        directory: launch.directory.clone(),
        default_folder: cli::default_folder(tmpdir.map(OsStr::to_owned)),
        parentage: original.workers().map(|pid| (pid, parentage(pid))).collect(),
        files: Vec::new(),
        inherited_fds: inherited_fds
            .filter_map(|number| Some((*number, identity(*number).ok()?)))
            .collect(),
        first_connection: FIRST_CONNECTION,
        found: found.collect::<BTreeMap<_, _>>(),
    }
}

fn inspect(number: RawFd) -> Option<Found> {
    let identity = identity(number).ok()?;
    let socket = socket::kind(number).map(|kind| ruby::Socket {
        family: kind.domain.map(|domain| match domain {
            socket::Domain::Inet => Family::Inet,
            socket::Domain::Inet6 => Family::Inet6,
            socket::Domain::Unix => Family::Unix,
        }),
        is_stream: kind.is_stream,
        port: kind.port,
        path: kind.path,
        peer: kind.peer,
    });
    Some(Found { identity, socket })
}

fn bound_path(original: &Original, directory: &Path) -> Option<PathBuf> {
    let number = original.command_socket();
    Some(directory.join(socket::kind(number)?.path?))
}

/// Makes the sockets non-blocking, which the original does not, and lengthens the backlog of the
/// command socket.
fn prepare_sockets(original: &Original) {
    let _ = socket::start_listening(descriptor::borrow(original.command_socket()), COMMAND_BACKLOG);
    for number in original.clients().chain([original.command_socket()]) {
        // A failure can be ignored: a blocking socket is used only when it is ready.
        let _ = socket::set_nonblocking(descriptor::borrow(number));
    }
}

/// Opens and locks the pid file, if it contains this master's pid.
fn claim_pidfile(path: &Path, own: Pid) -> Result<(File, OwnedFile)> {
    let entry = Entry::followed(path)?;
    let open = entry.open_existing(Access::ReadWrite)?;
    let mut text = Vec::new();
    (&open).take(PIDFILE_MAX).read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    if text.trim() != own.to_string() {
        bail!("it says {:?}", text.trim().chars().take(20).collect::<String>());
    }
    file::lock_for_writing(&open).context("it cannot be locked")?;
    let owned = OwnedFile::of(path, &open)?;
    Ok((open, owned))
}

/// What a check found out about the state of a Ruby master that runs it.
#[derive(Debug)]
pub enum Peek {
    /// No Ruby master runs this check.
    NoRubyMaster,
    /// The state, and the descriptor of its pipe.
    State(Vec<u8>, RawFd),
    /// The state could not be read, and why.
    Unreadable(String),
    /// The pipe is empty, and its writer has closed it.
    WriterGone,
}

/// Peeks at the state that a Ruby master running this check is about to hand over: it is in a pipe
/// that the check inherits. Nothing is taken out of the pipe.
pub fn peek(open_at_start: &[RawFd]) -> Peek {
    let parent = process::own_parent();
    let ancestors = [Some(parent), process::parent_of(parent).ok().flatten()];
    if !ancestors.into_iter().flatten().any(has_master_title) {
        return Peek::NoRubyMaster;
    }
    let deadline = Instant::now() + PEEK_TIMEOUT;
    let pipes = open_at_start.iter().copied().filter(|number| pipe::is_reading_end(*number));
    let pipes: Vec<RawFd> = pipes.collect();
    let number = match pipe::find(&pipes, ruby::STATE_PREFIX, deadline) {
        Ok(Some(number)) => number,
        Ok(None) if pipes.iter().any(|number| pipe::is_at_eof(*number)) => return Peek::WriterGone,
        Ok(None) => return Peek::Unreadable("no pipe with it is open here".to_owned()),
        Err(error) => return Peek::Unreadable(error.to_string()),
    };
    match pipe::peek(number, deadline) {
        Ok(bytes) => Peek::State(bytes, number),
        Err(error) => Peek::Unreadable(match error.kind() {
            io::ErrorKind::FileTooLarge => "it is more than its pipe holds".to_owned(),
            io::ErrorKind::TimedOut => {
                format!("it is still being written after {} s", PEEK_TIMEOUT.as_secs())
            }
            _ => error.to_string(),
        }),
    }
}
