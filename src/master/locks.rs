//! The lock files that keep a second master out (behaviour.md section 11).

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};

use crate::master::created_files::CreatedFiles;
use crate::master::folder_lock::retry_lock;
use crate::master::unix_socket::explain_path_error;
use crate::state::Config;
use crate::sys::file::{self, OwnedFile};
use crate::sys::trusted_path::Entry;
use crate::sys::user;

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
