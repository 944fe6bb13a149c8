//! Files that tell masters apart: locks, and files that are removed only by their maker.

use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A file known by its inode, so that one that has taken its name is left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Owned {
    /// Remembers the file that has this name now.
    ///
    /// # Errors
    /// Those of lstat(2).
    pub fn at(path: &Path) -> io::Result<Owned> {
        Ok(Owned::of(path, &fs::symlink_metadata(path)?))
    }

    /// Remembers an open file under the name that it has.
    pub fn of(path: &Path, metadata: &Metadata) -> Owned {
        Owned { path: path.to_owned(), device: metadata.dev(), inode: metadata.ino() }
    }

    /// A file that was remembered before, as [`Owned::numbers`] tells it.
    pub fn from_numbers(path: &Path, device: u64, inode: u64) -> Owned {
        Owned { path: path.to_owned(), device, inode }
    }

    /// Its device and inode.
    pub fn numbers(&self) -> (u64, u64) {
        (self.device, self.inode)
    }

    /// The name that it had.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the name still means this file.
    pub fn is_ours(&self) -> bool {
        Owned::at(&self.path).is_ok_and(|now| now == *self)
    }

    /// Removes the file if the name still means it.
    ///
    /// # Errors
    /// Those of unlink(2).
    pub fn remove(&self) -> io::Result<()> {
        match self.is_ours() {
            true => fs::remove_file(&self.path),
            false => Ok(()),
        }
    }
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

/// Opens a file for reading without waiting for anybody, as a FIFO otherwise does for a writer.
///
/// # Errors
/// Those of open(2).
pub fn open_at_once(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)
}

/// Opens a file for locking, and says whether it was made just now. Never follows a symbolic link
/// that another user may have planted, never empties the file.
///
/// # Errors
/// Those of open(2).
pub fn open_lock(path: &Path) -> io::Result<(File, bool)> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    match options.open(path) {
        Ok(file) => Ok((file, false)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Ok((options.create_new(true).open(path)?, true))
        }
        Err(error) => Err(error),
    }
}
