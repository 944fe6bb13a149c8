//! Resource limits.

use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// `RLIMIT_NOFILE`: how many descriptors a process may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenFiles {
    /// What holds.
    pub soft: u64,
    /// What it may be raised to.
    pub hard: u64,
}

/// The limit that holds now.
///
/// # Errors
/// Those of getrlimit(2).
pub fn open_files() -> io::Result<OpenFiles> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(OpenFiles { soft, hard })
}

/// Sets this process's limit.
///
/// # Errors
/// Those of setrlimit(2).
pub fn set_open_files(limit: OpenFiles) -> io::Result<()> {
    Ok(setrlimit(Resource::RLIMIT_NOFILE, limit.soft, limit.hard)?)
}

/// Raises this process's soft limit to the hard one.
///
/// # Errors
/// Those of setrlimit(2).
pub fn raise_open_files(original: OpenFiles) -> io::Result<()> {
    set_open_files(OpenFiles { soft: original.hard, ..original })
}

/// How many processors this process may use; at least 1.
pub fn processor_count() -> u32 {
    std::thread::available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(1))
}
