//! Files that tell masters apart: locks, and files that are removed only by their maker.

use std::fs::{self, File, Permissions, TryLockError};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::stat::{FileStat, fstat};

use crate::sys::trusted_path::{Access, Entry};

/// Nobody else may hold a lock of ours.
const LOCK_MODE: u32 = 0o600;

/// A file known by its inode, so that one that has taken its name is left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl OwnedFile {
    /// Remembers an open file under the name that it has.
    ///
    /// # Errors
    /// Those of fstat(2).
    pub fn of(path: &Path, opened: impl AsFd) -> io::Result<OwnedFile> {
        Ok(OwnedFile::found(path, &fstat(opened)?))
    }

    /// Remembers what was found under a name.
    pub fn found(path: &Path, found: &FileStat) -> OwnedFile {
        OwnedFile { path: path.to_owned(), device: found.st_dev, inode: found.st_ino }
    }

    /// A file that was remembered before, as [`OwnedFile::device_and_inode`] tells it.
    pub fn from_device_and_inode(path: &Path, device: u64, inode: u64) -> OwnedFile {
        OwnedFile { path: path.to_owned(), device, inode }
    }

    /// Its device and inode.
    pub fn device_and_inode(&self) -> (u64, u64) {
        (self.device, self.inode)
    }

    /// The name that it had.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether an entry of a folder means this file now.
    ///
    /// # Errors
    /// Those of fstatat(2).
    pub fn is_at(&self, entry: &Entry) -> io::Result<bool> {
        let is_it = |found: FileStat| (found.st_dev, found.st_ino) == self.device_and_inode();
        Ok(entry.stat()?.is_some_and(is_it))
    }

    /// Removes the file if its name still means it.
    ///
    /// # Errors
    /// Those of [`Entry::followed`], fstatat(2) and unlinkat(2).
    pub fn remove(&self) -> io::Result<()> {
        match Entry::followed(&self.path) {
            Ok(entry) if self.is_at(&entry)? => entry.remove(),
            Ok(_) => Ok(()),
            // Without a descriptor left for the folder, the path has to do.
            Err(error) if is_out_of_descriptors(&error) => self.remove_by_path(),
            // With its folder the file is gone.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn remove_by_path(&self) -> io::Result<()> {
        let found = fs::symlink_metadata(&self.path)?;
        match (found.dev(), found.ino()) == self.device_and_inode() {
            true => fs::remove_file(&self.path),
            false => Ok(()),
        }
    }
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

/// Takes flock(2) on an open file without waiting; `false` when another holds it. The lock lives
/// as long as the open file description.
///
/// # Errors
/// Those of flock(2).
pub fn try_lock(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Locks a file that others may read against whoever would write to it, without waiting. Who can
/// only read it can neither take such a lock nor be taken for its holder. The lock lives as long as
/// the open file description; see fcntl(2), `F_OFD_SETLK`.
///
/// # Errors
/// Those of fcntl(2); EAGAIN when another holds a lock.
pub fn lock_for_writing(file: &File) -> io::Result<()> {
    Ok(fcntl(file, FcntlArg::F_OFD_SETLK(&whole_file_lock(libc::F_WRLCK))).map(drop)?)
}

/// Whether another holds a lock of [`lock_for_writing`] on a file.
///
/// # Errors
/// Those of fcntl(2).
pub fn is_locked_for_writing(file: &File) -> io::Result<bool> {
    let mut lock = whole_file_lock(libc::F_RDLCK);
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut lock))?;
    Ok(i32::from(lock.l_type) == libc::F_WRLCK)
}

/// A lock on all of a file.
fn whole_file_lock(kind: i32) -> libc::flock {
    // SAFETY: an all-zero flock is a valid one: from the start to the end of the file.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::c_short::try_from(kind).unwrap_or_default();
    lock
}

/// Opens a file for locking, and says whether it was made just now. It is never emptied. `None`
/// when it is `/dev/null`, where nothing is anybody's.
///
/// # Errors
/// Those of [`Entry::open`] and [`Entry::create`]; `AlreadyExists` when another has made it between
/// the look and the try.
pub fn open_lock(entry: &Entry) -> io::Result<Option<(File, bool)>> {
    if entry.is_null_device()? {
        return Ok(None);
    }
    if let Some(file) = entry.open(Access::ReadWrite)? {
        return Ok(Some((file, false)));
    }
    let file = entry.create(LOCK_MODE)?;
    // The umask may have taken away what the next start of its owner needs.
    file.set_permissions(Permissions::from_mode(LOCK_MODE))?;
    Ok(Some((file, true)))
}
