//! Taking over from a Ruby master: what it left in a pipe is read, what is really there is looked
//! at, and what it does not hold itself is taken (docs/migrating.md).

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
use crate::master::descriptors::{carried_file, identity};
use crate::master::environment::variable;
use crate::master::files::{COMMAND_BACKLOG, PIDFILE_MAX};
use crate::master::launch::Launch;
use crate::master::now::now;
use crate::master::source::FIRST_CONNECTION;
use crate::ruby::{self, Facts, Found, Original, Parentage, Takeover};
use crate::schema::{self, Handover, Role};
use crate::state::{Family, Pid};
use crate::sys::file::{self, Owned};
use crate::sys::trusted_path::{Access, Entry};
use crate::sys::{descriptor, limit, memfd, pipe, process, socket};

/// How long the process that passes the state may take; it only writes what it has.
const READING_MAX: Duration = Duration::from_secs(60);

/// What to log, and how important it is.
pub type Note = (Level, String);

/// How long a check waits for a Ruby master that runs it to have written its state.
const PEEKING_MAX: Duration = Duration::from_secs(5);

/// The state that is under a number, whoever wrote it.
///
/// # Errors
/// It cannot be read, in words.
pub fn read_state(number: RawFd) -> Result<Vec<u8>> {
    let bytes = match pipe::is_reading_end(number) {
        true => pipe::read_to_end(number, ruby::STATE_MAX, READING_MAX),
        false => memfd::read_all(number, schema::STATE_MAX),
    };
    bytes.map_err(|error| match error.kind() {
        io::ErrorKind::FileTooLarge => {
            let max = match descriptor::is_pipe(number) {
                true => ruby::STATE_MAX,
                false => schema::STATE_MAX,
            };
            anyhow!("the state under {number} has more than {max} bytes")
        }
        io::ErrorKind::NotSeekable => {
            anyhow!("what is open under {number} is neither a pipe nor a file, and no state")
        }
        _ => anyhow!("cannot read the state under {number}: {error}"),
    })
}

/// Looks whether the state could be taken over, and takes nothing.
///
/// # Errors
/// Why it could not, by the name of the field.
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
    // Lines that are missing at the end leave no other trace.
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

/// Whether the master is not the parent of this process but the parent of that.
fn is_grandchild(original: &Original, parent: i32) -> bool {
    let Ok(Some(grandparent)) = process::parent_of(parent) else { return false };
    if is_named_as_master(parent) != is_named_as_master(grandparent) {
        return is_named_as_master(grandparent);
    }
    let mut pids = original.workers().peekable();
    let is_nephew =
        |pid: i32| process::parent_of(pid).is_ok_and(|found| found == Some(grandparent));
    grandparent > 1 && pids.peek().is_some() && pids.all(is_nephew)
}

/// Whether a process goes in ps by the name that the original gives itself.
fn is_named_as_master(pid: i32) -> bool {
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|name| name.starts_with(b"einhorn: "))
}

/// The state that a master which goes on as the Ruby one begins with, and what to log of it. There
/// is no way back to that: its pid file is locked, and its command socket and connections wait for
/// nobody any more.
///
/// # Errors
/// Why it cannot go on, by the name of the field.
pub fn adopt(bytes: &[u8], launch: &Launch, state_number: RawFd) -> Result<(Handover, Vec<Note>)> {
    let original = read(bytes)?;
    let mut facts = facts(&original, launch, state_number, process::own_pid());
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
    let Takeover { mut handover, notes: told } = take_over(&original, &facts)?;
    notes.extend(told.into_iter().map(|note| (Level::Info, note)));
    make_ready(&original);
    let owned = pidfile.map(|(open, owned)| {
        let _ = open.into_raw_fd();
        owned
    });
    let path = &handover.state.config.socket_path;
    // Bound by this very socket, so that it is removed at the end like one of ours.
    let command_socket =
        bound_path(&original, &launch.directory).filter(|bound| bound == path).and_then(|path| {
            let found = Entry::at(&path).ok()?.stat().ok()??;
            Some(Owned::found(&path, &found))
        });
    let owned = command_socket.into_iter().chain(owned);
    handover.files = owned.map(|file| carried_file(&file)).collect();
    Ok((handover, notes))
}

fn read(bytes: &[u8]) -> Result<Original> {
    Original::read(bytes).map_err(Error::msg).context("the Ruby master's state")
}

/// The state as one of ours, which can be handed on like one of ours.
fn take_over(original: &Original, facts: &Facts) -> Result<Takeover> {
    let taken = original.take_over(facts);
    let taken = taken.map_err(Error::msg).context("the Ruby master's state")?;
    schema::encode(&taken.handover, None, None)?;
    Ok(taken)
}

fn facts(original: &Original, launch: &Launch, state_number: RawFd, master_pid: i32) -> Facts {
    let open_files = limit::open_files().unwrap_or(limit::Limit::open_files(1024, 1024));
    let numbers: Vec<i32> = original.descriptors().iter().map(|(number, _)| *number).collect();
    let found = numbers.iter().filter_map(|number| Some((*number, found(*number)?)));
    let is_inherited = |n: &&i32| !numbers.contains(n) && **n != state_number;
    let inherited_fds = launch.open_at_start.iter().filter(is_inherited);
    let tmpdir = variable(&launch.environment, "TMPDIR");
    let parentage = |pid: i32| match process::parent_of(pid) {
        Ok(Some(parent)) if parent == master_pid => Parentage::Ours,
        Ok(Some(_)) => Parentage::Foreign,
        // Of which nothing is known; whether it lives is asked of the kernel when it is adopted.
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

fn found(number: RawFd) -> Option<Found> {
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

/// What the original left blocking, or with a short queue.
fn make_ready(original: &Original) {
    let _ = socket::start_listening(descriptor::borrow(original.command_socket()), COMMAND_BACKLOG);
    for number in original.clients().chain([original.command_socket()]) {
        // Whether one waits shows when it is used: nothing is asked of one that is not ready.
        let _ = socket::set_nonblocking(descriptor::borrow(number));
    }
}

/// The pid file, if it is this master's, locked against others.
fn claim_pidfile(path: &Path, own: Pid) -> Result<(File, Owned)> {
    let entry = Entry::followed(path)?;
    let open = entry.open_there(Access::ReadWrite)?;
    let mut text = Vec::new();
    (&open).take(PIDFILE_MAX).read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    if text.trim() != own.to_string() {
        bail!("it says {:?}", text.trim().chars().take(20).collect::<String>());
    }
    file::lock_for_writing(&open).context("it cannot be locked")?;
    let owned = Owned::of(path, &open)?;
    Ok((open, owned))
}

/// What is known of the state of a Ruby master that asks whether this program can start.
#[derive(Debug)]
pub enum Peeked {
    /// No Ruby master runs this.
    Nothing,
    /// The state, and under which number it is.
    Found(Vec<u8>, RawFd),
    /// It could not be looked at, and why.
    Hidden(String),
    /// Nothing was written, and nobody is left to write.
    Lost,
}

/// Looks at the state that a Ruby master which runs this check is about to hand over: it leaves it
/// in a pipe that its check inherits. Nothing is taken out of the pipe.
pub fn peek(open_at_start: &[RawFd]) -> Peeked {
    let parent = process::own_parent();
    let ancestors = [Some(parent), process::parent_of(parent).ok().flatten()];
    if !ancestors.into_iter().flatten().any(is_named_as_master) {
        return Peeked::Nothing;
    }
    let deadline = Instant::now() + PEEKING_MAX;
    let pipes = open_at_start.iter().copied().filter(|number| pipe::is_reading_end(*number));
    let pipes: Vec<RawFd> = pipes.collect();
    let number = match pipe::find(&pipes, ruby::STATE_PREFIX, deadline) {
        Ok(Some(number)) => number,
        Ok(None) if pipes.iter().any(|number| pipe::is_spent(*number)) => return Peeked::Lost,
        Ok(None) => return Peeked::Hidden("no pipe with it is open here".to_owned()),
        Err(error) => return Peeked::Hidden(error.to_string()),
    };
    match pipe::peek(number, deadline) {
        Ok(bytes) => Peeked::Found(bytes, number),
        Err(error) => Peeked::Hidden(match error.kind() {
            io::ErrorKind::FileTooLarge => "it is more than its pipe holds".to_owned(),
            io::ErrorKind::TimedOut => {
                format!("it is still written after {} s", PEEKING_MAX.as_secs())
            }
            _ => error.to_string(),
        }),
    }
}
