//! The file that a program is executed from.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A file that is executed by its very inode.
#[derive(Debug)]
pub struct Image {
    /// Open for nothing but that, or held by what runs it.
    pub file: OwnedFd,
    /// What it was like when it was checked.
    pub fingerprint: Fingerprint,
}

/// What changes when a file is written in place: size, seconds and nanoseconds of the last change.
pub type Fingerprint = (u64, i64, i64);

/// What changes of an open file when it is written in place.
///
/// # Errors
/// Those of fstat(2).
pub fn fingerprint(file: &OwnedFd) -> io::Result<Fingerprint> {
    // An O_PATH descriptor can be looked at by fstat(2) and nothing else.
    let metadata: Metadata = File::from(file.try_clone()?).metadata()?;
    Ok((metadata.size(), metadata.mtime(), metadata.mtime_nsec()))
}

/// Whether a file begins with `#!`. One that may be executed but not read is a program.
pub fn is_script(path: &Path) -> bool {
    let mut start = [0; 2];
    File::open(path)
        .and_then(|mut file| file.read_exact(&mut start))
        .is_ok_and(|()| start == *b"#!")
}
