//! Files that the master owns: locks, and files that only their creator removes.

use std::fs::{self, File, Permissions, TryLockError};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::stat::{FileStat, fstat};

use crate::sys::trusted_path::{Access, Entry};

/// Other users must not be able to open, and so lock, a lock file.
const LOCK_MODE: u32 = 0o600;

/// A file identified by its inode, so that another file that took its name is left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl OwnedFile {
    /// Records an open file and its path.
    ///
    /// # Errors
    /// Those of fstat(2).
    pub fn of(path: &Path, opened: impl AsFd) -> io::Result<OwnedFile> {
        Ok(OwnedFile::found(path, &fstat(opened)?))
    }

    /// Records a file by its status and path.
    pub fn found(path: &Path, found: &FileStat) -> OwnedFile {
        OwnedFile { path: path.to_owned(), device: found.st_dev, inode: found.st_ino }
    }

    /// A file recorded earlier, from [`OwnedFile::device_and_inode`].
    pub fn from_device_and_inode(path: &Path, device: u64, inode: u64) -> OwnedFile {
        OwnedFile { path: path.to_owned(), device, inode }
    }

    /// Its device and inode.
    pub fn device_and_inode(&self) -> (u64, u64) {
        (self.device, self.inode)
    }

    /// Its path when it was recorded.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a folder's entry is this file now.
    ///
    /// # Errors
    /// Those of fstatat(2).
    pub fn is_at(&self, entry: &Entry) -> io::Result<bool> {
        let is_it = |found: FileStat| (found.st_dev, found.st_ino) == self.device_and_inode();
        Ok(entry.stat()?.is_some_and(is_it))
    }

    /// Removes the file, unless another file has its name now.
    ///
    /// # Errors
    /// Those of [`Entry::followed`], fstatat(2) and unlinkat(2).
    pub fn remove(&self) -> io::Result<()> {
        match Entry::followed(&self.path) {
            Ok(entry) if self.is_at(&entry)? => entry.remove(),
            Ok(_) => Ok(()),
            // Without a descriptor left to open the folder, the path has to do.
            Err(error) if is_out_of_descriptors(&error) => self.remove_by_path(),
            // The folder is gone, and the file with it.
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

/// Tries to flock(2) an open file; `false` when another process holds the lock. It lives as long as
/// the open file description.
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

/// Tries to take a write lock on a file that other users may read. Without write permission a
/// process can neither take such a lock nor be mistaken for its holder. The lock lives as long as
/// the open file description; see fcntl(2), `F_OFD_SETLK`.
///
/// # Errors
/// Those of fcntl(2); EAGAIN when another process holds a lock.
pub fn lock_for_writing(file: &File) -> io::Result<()> {
    Ok(fcntl(file, FcntlArg::F_OFD_SETLK(&whole_file_lock(libc::F_WRLCK))).map(drop)?)
}

/// Whether another process holds a lock of [`lock_for_writing`] on a file.
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

/// Opens or creates a file for locking, without truncating it. Returns whether it was created;
/// `None` for `/dev/null`, which cannot be owned.
///
/// # Errors
/// Those of [`Entry::open`] and [`Entry::create`]; `AlreadyExists` when another process created it
/// in between.
pub fn open_lock(entry: &Entry) -> io::Result<Option<(File, bool)>> {
    if entry.is_null_device()? {
        return Ok(None);
    }
    if let Some(file) = entry.open(Access::ReadWrite)? {
        return Ok(Some((file, false)));
    }
    let file = entry.create(LOCK_MODE)?;
    // The umask may have cleared bits that the owner's next start needs.
    file.set_permissions(Permissions::from_mode(LOCK_MODE))?;
    Ok(Some((file, true)))
}
