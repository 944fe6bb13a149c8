//! The files that make a master one of its kind: lock, command socket, pid file
//! (behaviour.md section 11).

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use crate::state::Config;
use crate::sys::file::{self, OwnedFile};
use crate::sys::trusted_path::{self, Access, Entry};
use crate::sys::{socket, user};

/// How many clients may wait to be accepted on the command socket: a whole fleet may ACK while the
/// master is busy for a moment.
pub const COMMAND_BACKLOG: u32 = 1024;

/// How often and how long to wait for a folder or the original's lock: a master holds them for less
/// than a millisecond.
const LOCK_TRIES: u32 = 500;
const LOCK_RETRY_PAUSE: Duration = Duration::from_millis(2);

/// More than a pid and the blanks around it.
pub const PIDFILE_MAX: u64 = 64;

/// Files that are removed again unless the start-up succeeds.
#[derive(Debug, Default)]
pub struct CreatedFiles(Vec<OwnedFile>);

impl CreatedFiles {
    /// Remembers a file that was just made.
    pub fn add(&mut self, file: OwnedFile) {
        self.0.push(file);
    }

    /// The start-up succeeded: nothing is removed. Answers the files.
    pub fn keep(mut self) -> Vec<OwnedFile> {
        std::mem::take(&mut self.0)
    }
}

impl Drop for CreatedFiles {
    fn drop(&mut self) {
        for file in self.0.iter().rev() {
            let _folder = Entry::at(file.path()).ok().and_then(|entry| lock_folder(&entry));
            // The failure that brought us here is the one to report.
            let _ = file.remove();
        }
    }
}

/// Takes a lock that keeps other masters away as long as the file stays open; `None` for
/// `/dev/null`, and for the lock that this master `holds` already. The file is removed again unless
/// the start-up succeeds, if it was made just now.
///
/// # Errors
/// Another process holds it, or the file cannot be opened.
pub fn take_lock(
    path: &Path,
    already_held: Option<&OwnedFile>,
    created: &mut CreatedFiles,
) -> Result<Option<File>> {
    match try_take_lock(path, already_held, created)? {
        Attempt::Taken(lock) => Ok(lock),
        Attempt::Held => bail!("another einhorn holds the lock {}", path.display()),
    }
}

/// Takes the lock that belongs to the command socket.
///
/// # Errors
/// A master serves that socket, or the file cannot be opened.
pub fn take_socket_lock(config: &Config, created: &mut CreatedFiles) -> Result<File> {
    let path = config.socket_lock();
    let (shown, socket) = (path.display(), config.socket_path.display());
    let why = match try_take_lock(&path, None, created) {
        Ok(Attempt::Taken(Some(lock))) => return Ok(lock),
        Ok(Attempt::Taken(None)) => format!("{shown} is a device"),
        Ok(Attempt::Held) => bail!(
            "another einhorn holds the lock {shown}: a master with the command socket {socket} is \
             running. Give this one a name of its own with -c, or a command socket of its own with \
             -d"
        ),
        Err(error) => match error.downcast_ref() {
            Some(error) => format!("{shown}: {}", explain_path_error(error)),
            None => format!("{error:#}"),
        },
    };
    bail!("cannot take the command socket {socket}: {why}; choose another with -d")
}

/// Takes the lock file that nobody has named, which is to be held for a moment only, as the
/// original does while it binds its command socket: neither finds what the other is about to make.
///
/// # Errors
/// Another process holds it for longer than that takes, or the file cannot be opened.
pub fn take_default_lock(
    path: &Path,
    already_held: Option<&OwnedFile>,
    created: &mut CreatedFiles,
) -> Result<Option<File>> {
    let taken = retry_lock(|| match try_take_lock(path, already_held, created)? {
        Attempt::Taken(lock) => Ok(Some(lock)),
        Attempt::Held => Ok(None),
    })?;
    taken.ok_or_else(|| anyhow!("another process holds the lock {}", path.display()))
}

enum Attempt {
    Taken(Option<File>),
    Held,
}

fn try_take_lock(
    path: &Path,
    already_held: Option<&OwnedFile>,
    created: &mut CreatedFiles,
) -> Result<Attempt> {
    let cannot_open = || format!("cannot open the lock file {}", path.display());
    loop {
        let entry = Entry::followed(path).with_context(cannot_open)?;
        if already_held.is_some_and(|held| held.is_at(&entry).is_ok_and(|is_it| is_it)) {
            return Ok(Attempt::Taken(None));
        }
        let (lock, is_new) = match file::open_lock(&entry) {
            Ok(Some(opened)) => opened,
            Ok(None) => return Ok(Attempt::Taken(None)),
            // Made by another master between our look and our try.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
            Err(error) => return Err(error).with_context(cannot_open),
        };
        let owner = lock.metadata().with_context(cannot_open)?.uid();
        if owner != 0 && owner != user::effective_id() {
            // Who could lock it at will, and remove it.
            bail!("the lock file {} belongs to user {owner}: remove it", path.display());
        }
        if !file::try_lock(&lock).with_context(cannot_open)? {
            return Ok(Attempt::Held);
        }
        let held = OwnedFile::of(path, &lock)?;
        // A master that failed to start may have removed the file before we locked it.
        if held.is_at(&entry)? {
            if is_new {
                created.add(held);
            }
            return Ok(Attempt::Taken(Some(lock)));
        }
    }
}

/// Holds the folder of an entry that is about to be made until the answer is dropped: two masters
/// that find the same stale file must not remove each other's new one. Best effort: a folder that
/// cannot be read cannot be held, and who holds it for long is no master.
pub fn lock_folder(entry: &Entry) -> Option<File> {
    let folder = entry.open_folder()?;
    retry_lock(|| Ok(file::try_lock(&folder)?.then_some(()))).ok()??;
    Some(folder)
}

/// Tries for as long as a master may hold what is wanted; `None` when it is held still.
#[expect(clippy::disallowed_methods, reason = "a start waits a second at most")]
fn retry_lock<T>(mut attempt: impl FnMut() -> Result<Option<T>>) -> Result<Option<T>> {
    for _ in 0..LOCK_TRIES {
        if let Some(taken) = attempt()? {
            return Ok(Some(taken));
        }
        std::thread::sleep(LOCK_RETRY_PAUSE);
    }
    Ok(None)
}

/// Binds the command socket; its lock must be held. Only its owner may connect, from its first
/// instant.
///
/// # Errors
/// Somebody serves it, something else has its name, or it cannot be bound.
pub fn bind_command_socket(path: &Path, created: &mut CreatedFiles) -> Result<OwnedFd> {
    let hint = "choose another with -d";
    let shown = path.display();
    let found = Entry::at(path).map_err(|error| anyhow!("{}", explain_path_error(&error)));
    let entry = found.with_context(|| format!("cannot take the command socket {shown}; {hint}"))?;
    let _folder = lock_folder(&entry);
    replace_stale_socket(path, &entry)
        .with_context(|| format!("cannot take the command socket {shown}; {hint}"))?;
    let mut bind = || -> io::Result<OwnedFd> {
        let (socket, file) = bind_unix(path, &entry, 0o600, created)?;
        // In case the umask took away what the owner needs.
        socket::set_mode(&file, path, 0o600)?;
        socket::start_listening(&socket, COMMAND_BACKLOG)?;
        Ok(socket)
    };
    bind().map_err(|error| {
        anyhow!("cannot bind the command socket {shown}: {}; {hint}", explain_path_error(&error))
    })
}

/// Binds a UNIX socket that does not listen yet, and opens its file.
///
/// # Errors
/// Those of [`socket::bind_unix`] and [`socket::file_of`]: what was bound is left where another
/// process has moved it.
pub fn bind_unix(
    path: &Path,
    entry: &Entry,
    mode: u32,
    created: &mut CreatedFiles,
) -> io::Result<(OwnedFd, OwnedFd)> {
    let socket = socket::bind_unix(&entry.path_to_bind(path), mode)?;
    let file = socket::file_of(&socket, entry)?;
    created.add(OwnedFile::of(path, &file)?);
    Ok((socket, file))
}

/// Makes room for a UNIX socket: removes a socket file that nobody serves.
///
/// # Errors
/// Somebody serves it, or it is not a socket.
pub fn replace_stale_socket(path: &Path, entry: &Entry) -> Result<()> {
    let failed = |error: io::Error| anyhow!("{}", explain_path_error(&error));
    let Some(file) = entry.open_path().map_err(failed)? else { return Ok(()) };
    if !trusted_path::is_socket_file(&file).map_err(failed)? {
        bail!("a file that is not a socket has this name; it was left alone");
    }
    if socket::has_listener(&file, path).map_err(failed)? {
        bail!("another process is listening on it");
    }
    match OwnedFile::of(path, &file)?.is_at(entry)? {
        true => Ok(entry.remove()?),
        false => Ok(()),
    }
}

/// An error of a UNIX socket's path in words.
pub fn explain_path_error(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "its folder does not exist".to_owned(),
        ErrorKind::PermissionDenied if error.raw_os_error().is_some() => {
            "permission denied".to_owned()
        }
        ErrorKind::ReadOnlyFilesystem => "its file system is read-only".to_owned(),
        _ if error.raw_os_error().is_some_and(is_name_too_long) => {
            "its path is longer than the 107 bytes that a socket's may have".to_owned()
        }
        _ => error.to_string(),
    }
}

fn is_name_too_long(errno: i32) -> bool {
    io::Error::from_raw_os_error(errno).kind() == ErrorKind::InvalidFilename
}

/// Writes the pid file, whole or not at all, and holds a lock on it as long as the answer stays
/// open, so that no other master takes it. `None` for `/dev/null`.
///
/// # Errors
/// A running master has it, or it cannot be written.
pub fn write_pidfile(path: &Path, pid: i32, created: &mut CreatedFiles) -> Result<Option<File>> {
    let shown = path.display();
    let failed = |error: io::Error| anyhow!("cannot write the pid file {shown}: {error}");
    let entry = Entry::followed(path).map_err(failed)?;
    if entry.is_null_device().map_err(failed)? {
        return Ok(None);
    }
    let _folder = lock_folder(&entry);
    if let Some(existing) = entry.open(Access::Read).map_err(failed)? {
        refuse_running_master(path, existing)?;
    }
    let write = |file: &mut File| {
        file::lock_for_writing(file)?;
        file.write_all(format!("{pid}\n").as_bytes())
    };
    let file = entry.replace(0o644, write).map_err(failed)?;
    created.add(OwnedFile::of(path, &file).map_err(failed)?);
    Ok(Some(file))
}

fn refuse_running_master(path: &Path, existing: File) -> Result<()> {
    let shown = path.display();
    // Others may read the file, and so lock it for reading; only a master locks it for writing.
    let is_held = file::is_locked_for_writing(&existing);
    if !is_held.with_context(|| format!("cannot ask for locks on the pid file {shown}"))? {
        return Ok(());
    }
    let mut pid = String::new();
    // Whatever it says, it is locked.
    let _ = existing.take(PIDFILE_MAX).read_to_string(&mut pid);
    match pid.trim() {
        "" => bail!("the pid file {shown} is a lock of a running master"),
        pid => bail!("the pid file {shown} belongs to a running master (pid {pid})"),
    }
}
