//! Executable files and how they are recognised as unchanged.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A file that is executed by its inode.
#[derive(Debug)]
pub struct Image {
    /// The file, opened with `O_PATH`.
    pub file: OwnedFd,
    /// Its fingerprint when it was checked.
    pub fingerprint: Fingerprint,
}

/// What changes when a file is written in place: size, and seconds and nanoseconds of its mtime.
pub type Fingerprint = (u64, i64, i64);

/// The fingerprint of an open file.
///
/// # Errors
/// Those of fstat(2).
pub fn fingerprint(file: &OwnedFd) -> io::Result<Fingerprint> {
    // An O_PATH descriptor allows fstat(2) but no reads.
    let metadata: Metadata = File::from(file.try_clone()?).metadata()?;
    Ok((metadata.size(), metadata.mtime(), metadata.mtime_nsec()))
}

/// Whether a file begins with `#!`. A file that may be executed but not read counts as a binary.
pub fn is_script(path: &Path) -> bool {
    let mut start = [0; 2];
    File::open(path)
        .and_then(|mut file| file.read_exact(&mut start))
        .is_ok_and(|()| start == *b"#!")
}
