//! The files that make a master unique: lock, command socket, pid file (behaviour.md section 11).

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

/// Backlog of the command socket: a whole fleet may ACK while the master is busy for a moment.
pub const COMMAND_BACKLOG: u32 = 1024;

/// Retries, and the pause between them, for the lock of a folder or the original's lock; a master
/// holds these for less than a millisecond.
const LOCK_TRIES: u32 = 500;
const LOCK_RETRY_PAUSE: Duration = Duration::from_millis(2);

/// More than enough for a pid and white space around it, in bytes.
pub const PIDFILE_MAX: u64 = 64;

/// Files created by a start-up, removed again unless it succeeds.
#[derive(Debug, Default)]
pub struct CreatedFiles(Vec<OwnedFile>);

impl CreatedFiles {
    /// Adds a file that was just created.
    pub fn add(&mut self, file: OwnedFile) {
        self.0.push(file);
    }

    /// Keeps the files, since the start-up succeeded, and returns them.
    pub fn keep(mut self) -> Vec<OwnedFile> {
        std::mem::take(&mut self.0)
    }
}

impl Drop for CreatedFiles {
    fn drop(&mut self) {
        for file in self.0.iter().rev() {
            let _folder = Entry::at(file.path()).ok().and_then(|entry| lock_folder(&entry));
            // The start-up's own error is the one to report.
            let _ = file.remove();
        }
    }
}

/// Takes a lock that keeps other masters out as long as the returned file stays open. `None` for
/// `/dev/null`, and for a lock that this master has `already_held`. A lock file that this call
/// created is removed again unless the start-up succeeds.
///
/// # Errors
/// Another process holds the lock, or the file cannot be opened.
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

/// Takes the lock of the command socket.
///
/// # Errors
/// Another master holds it, or the file cannot be opened.
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

/// Takes the default lock file, which is held only while the command socket is bound, as the
/// original does: neither program then sees the other's half-made socket.
///
/// # Errors
/// Another process keeps holding the lock, or the file cannot be opened.
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
            // Another master created it after we looked.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
            Err(error) => return Err(error).with_context(cannot_open),
        };
        let owner = lock.metadata().with_context(cannot_open)?.uid();
        if owner != 0 && owner != user::effective_id() {
            // That user could lock or remove it at any time.
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

/// Locks the folder of an entry until the returned file is dropped: two masters that find the same
/// stale file must not remove each other's new one. Best effort: a folder that cannot be read
/// cannot be locked, and a process that holds the lock for long is not a master.
pub fn lock_folder(entry: &Entry) -> Option<File> {
    let folder = entry.open_folder()?;
    retry_lock(|| Ok(file::try_lock(&folder)?.then_some(()))).ok()??;
    Some(folder)
}

/// Retries until `attempt` gets the lock; `None` when it is still held after about a second.
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

/// Binds the command socket; its lock must be held. From the moment its file exists, only its owner
/// may connect.
///
/// # Errors
/// Another process listens on it, another kind of file has its name, or it cannot be bound.
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
        // The umask may have cleared bits that the owner needs.
        socket::set_mode(&file, path, 0o600)?;
        socket::start_listening(&socket, COMMAND_BACKLOG)?;
        Ok(socket)
    };
    bind().map_err(|error| {
        anyhow!("cannot bind the command socket {shown}: {}; {hint}", explain_path_error(&error))
    })
}

/// Binds a UNIX socket that does not listen yet. Returns it and its open file.
///
/// # Errors
/// Those of [`socket::bind_unix`] and [`socket::file_of`]; if another process has moved the new
/// file, it is left behind.
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

/// Removes a stale socket file, one that no process listens on.
///
/// # Errors
/// Another process listens on it, or it is not a socket.
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

/// Explains an error about the path of a UNIX socket.
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

/// Writes the pid file atomically, and locks it for as long as the returned file stays open, so
/// that no other master takes it. `None` for `/dev/null`.
///
/// # Errors
/// It belongs to a running master, or cannot be written.
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
    // Any process that may read the file can take a read lock; only a master takes a write lock.
    let is_held = file::is_locked_for_writing(&existing);
    if !is_held.with_context(|| format!("cannot ask for locks on the pid file {shown}"))? {
        return Ok(());
    }
    let mut pid = String::new();
    // The lock counts, not the content.
    let _ = existing.take(PIDFILE_MAX).read_to_string(&mut pid);
    match pid.trim() {
        "" => bail!("the pid file {shown} is a lock of a running master"),
        pid => bail!("the pid file {shown} belongs to a running master (pid {pid})"),
    }
}
