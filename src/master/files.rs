//! The files that make a master one of its kind: lock, command socket, pid file
//! (behaviour.md section 11).

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use crate::sys::file::{self, Owned};
use crate::sys::socket::{self, Listening};

/// How many clients may wait to be accepted on the command socket: a whole fleet may ACK while the
/// master is busy for a moment.
pub const COMMAND_BACKLOG: u32 = 1024;

/// How often and how long to wait for a folder: a master holds it for less than a millisecond.
const HOLD_TRIES: u32 = 500;
const HOLD_PAUSE: Duration = Duration::from_millis(2);

/// Files that are removed again unless the start-up succeeds.
#[derive(Debug, Default)]
pub struct Undo(Vec<Owned>);

impl Undo {
    /// Remembers a file that was just made.
    pub fn add(&mut self, file: Owned) {
        self.0.push(file);
    }

    /// The start-up succeeded: nothing is removed. Answers the files.
    pub fn keep(mut self) -> Vec<Owned> {
        std::mem::take(&mut self.0)
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        for file in self.0.iter().rev() {
            let _folder = hold_folder(file.path());
            // The failure that brought us here is the one to report.
            let _ = file.remove();
        }
    }
}

/// Takes the lock that keeps a second master of the same name away; it lasts as long as the file
/// stays open. The second answer is the lock file, if it was made just now.
///
/// # Errors
/// Another master holds it, or the file cannot be opened.
pub fn take_lock(path: &Path) -> Result<(File, Option<Owned>)> {
    loop {
        let (lock, is_new) = match file::open_lock(path) {
            // Made by another master between our look and our try.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
            other => other.with_context(|| {
                format!("cannot open the lock file {}; choose another with -f", path.display())
            })?,
        };
        if !file::try_lock(&lock)? {
            bail!(
                "another einhorn holds the lock {}: a master of this name is running. Give this \
                 one a name of its own with -c, or files of its own with -d, -e and -f",
                path.display()
            );
        }
        let held = Owned::of(path, &lock.metadata()?);
        // A master that failed to start may have removed the file before we locked it.
        if held.is_ours() {
            return Ok((lock, is_new.then_some(held)));
        }
    }
}

/// Holds the folder of a file that is about to be made until the answer is dropped: two masters
/// that find the same stale file must not remove each other's new one. Best effort: a folder that
/// cannot be read cannot be held, and who holds it for long is no master.
pub fn hold_folder(path: &Path) -> Option<File> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = File::open(folder.unwrap_or(Path::new("."))).ok()?;
    for _ in 0..HOLD_TRIES {
        if file::try_lock(&folder).ok()? {
            return Some(folder);
        }
        std::thread::sleep(HOLD_PAUSE);
    }
    None
}

/// Binds the command socket; the lock must be held. Only its owner may connect, from its first
/// instant.
///
/// # Errors
/// Somebody serves it, something else has its name, or it cannot be bound.
pub fn claim_command_socket(path: &Path, undo: &mut Undo) -> Result<OwnedFd> {
    let shown = path.display();
    let _folder = hold_folder(path);
    replace_stale_socket(path).with_context(|| {
        format!("cannot take the command socket {shown}; choose another with -d")
    })?;
    let mut bind = || -> io::Result<OwnedFd> {
        let socket = socket::bind_unix(path, 0o600)?;
        undo.add(Owned::at(path)?);
        // In case the umask took away what the owner needs.
        socket::set_mode(path, 0o600)?;
        socket::start_listening(&socket, COMMAND_BACKLOG)?;
        Ok(socket)
    };
    bind().map_err(|error| {
        anyhow!("cannot bind the command socket {shown}: {}; choose another with -d", why(&error))
    })
}

/// Makes room for a UNIX socket: removes a socket file that nobody serves.
///
/// # Errors
/// Somebody serves it, or it is not a socket.
pub fn replace_stale_socket(path: &Path) -> Result<()> {
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        other => other.map_err(|error| anyhow!("{}", why(&error)))?,
    };
    if !found.file_type().is_socket() {
        bail!("a file that is not a socket has this name; it was left alone");
    }
    let stale = Owned::of(path, &found);
    match socket::probe_unix(path).map_err(|error| anyhow!("{}", why(&error)))? {
        Listening::Live => bail!("another process is listening on it"),
        Listening::Absent => Ok(()),
        Listening::Stale => Ok(stale.remove()?),
    }
}

/// An error of a UNIX socket's path in words.
pub fn why(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "its folder does not exist".to_owned(),
        ErrorKind::PermissionDenied => "permission denied".to_owned(),
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
/// open, so that no other master takes it. Devices such as `/dev/null` are written to and nothing
/// more.
///
/// # Errors
/// A running master has it, or it cannot be written.
pub fn write_pidfile(path: &Path, pid: i32, undo: &mut Undo) -> Result<Option<File>> {
    let shown = path.display();
    let hint = "choose another with -e";
    match fs::metadata(path) {
        Ok(found) if found.file_type().is_char_device() => {
            fs::write(path, format!("{pid}\n"))
                .with_context(|| format!("cannot write the pid file {shown}"))?;
            return Ok(None);
        }
        Ok(found) if found.is_file() => {}
        Ok(_) => bail!("the pid file {shown} is not a regular file; it was left alone; {hint}"),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => bail!("cannot write the pid file {shown}: {error}; {hint}"),
    }
    let path = followed(path);
    let _folder = hold_folder(&path);
    refuse_running_masters(&path)?;
    let mut write = || -> io::Result<File> {
        let (mut file, mut made) = create_beside(&path, pid)?;
        file::try_lock(&file)?;
        file.write_all(format!("{pid}\n").as_bytes())?;
        fs::rename(made.0[0].path(), &path)?;
        undo.add(Owned::of(&path, &file.metadata()?));
        made.0.clear();
        Ok(file)
    };
    let file =
        write().map_err(|error| anyhow!("cannot write the pid file {shown}: {error}; {hint}"))?;
    Ok(Some(file))
}

/// The file that a name means in the end: links are followed, as the original does, also to one
/// that is not there yet. The kernel has allowed it before.
fn followed(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    // No more links than the kernel follows.
    for _ in 0..40 {
        let Ok(target) = fs::read_link(&path) else { break };
        path = path.with_file_name("").join(target);
    }
    path
}

/// The name of a file that is to take the place of another, in the same folder.
///
/// # Errors
/// The other has no name: it is a folder.
pub fn beside(path: &Path, pid: i32) -> io::Result<PathBuf> {
    let mut name = path.file_name().ok_or(ErrorKind::InvalidInput)?.to_owned();
    name.push(format!(".{pid}.new"));
    Ok(path.with_file_name(name))
}

/// A new file in the same folder, removed again unless it is renamed.
fn create_beside(path: &Path, pid: i32) -> io::Result<(File, Undo)> {
    let temporary = beside(path, pid)?;
    // Left by a master of this pid that died just here.
    let _ = fs::remove_file(&temporary);
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o644).open(&temporary)?;
    let mut undo = Undo::default();
    undo.add(Owned::of(&temporary, &file.metadata()?));
    Ok((file, undo))
}

fn refuse_running_masters(path: &Path) -> Result<()> {
    let Ok(existing) = File::open(path) else { return Ok(()) };
    if file::try_lock(&existing)? {
        return Ok(());
    }
    let pid = fs::read_to_string(path).unwrap_or_default();
    let pid = match pid.trim() {
        "" => "it is locked and names none; -e and -f must be two files".to_owned(),
        pid => format!("pid {pid}"),
    };
    bail!(
        "the pid file {} belongs to a running master ({pid}); choose another with -e",
        path.display()
    )
}
