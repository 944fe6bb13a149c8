//! The file of `--metrics-file`: replaced atomically; a failure to write it is only logged.

use std::fs::Permissions;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use crate::state::Monotonic;
use crate::sys::file::OwnedFile;
use crate::sys::trusted_path::{self, Entry};

/// Minimum time between writes when something has happened: a collector reads it every few seconds,
/// and a storm of exits needs one write only.
const REWRITE_PAUSE: Duration = Duration::from_secs(1);

/// Time between writes when nothing has happened, since memory and queues change without an event.
/// Collectors usually scrape at about this interval; it is all that wakes an idle master.
const REWRITE_PERIOD: Duration = Duration::from_secs(15);

/// World-readable whatever the umask is: the collector runs as another user.
const MODE: u32 = 0o644;

/// When and whether the file was last written.
#[derive(Debug, Default)]
pub struct MetricsFile {
    /// When it was last written, or failed to be.
    pub(super) tried_at: Option<Monotonic>,
    /// Whether anything has happened since then.
    pub(super) is_stale: bool,
    /// Whether the last attempt failed, and was logged.
    pub(super) has_failed: bool,
}

impl MetricsFile {
    /// Marks the file as older than the last event.
    pub fn mark_stale(&mut self) {
        self.is_stale = true;
    }

    /// When it is due to be written again.
    pub fn due_at(&self) -> Monotonic {
        let pause = if self.is_stale { REWRITE_PAUSE } else { REWRITE_PERIOD };
        self.tried_at.map_or(Monotonic(0), |at| at + pause)
    }
}

/// Replaces the file atomically. A name that belongs to something other than a regular file, such
/// as a device, is left alone.
///
/// # Errors
/// The file cannot be written.
pub fn replace(path: &Path, text: &str) -> io::Result<OwnedFile> {
    let entry = Entry::followed(path)?;
    if entry.stat()?.is_some_and(|found| !trusted_path::is_regular(&found)) {
        return Err(io::Error::other("it is not a regular file"));
    }
    let file = entry.replace(MODE, |file| {
        file.set_permissions(Permissions::from_mode(MODE))?;
        file.write_all(text.as_bytes())
    })?;
    OwnedFile::of(path, &file)
}
