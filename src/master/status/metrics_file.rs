//! The file of `--metrics-file`: kept up to date, whole at any moment, and never a reason to fail.

use std::fs::Permissions;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use crate::state::Monotonic;
use crate::sys::file::OwnedFile;
use crate::sys::trusted_path::{self, Entry};

/// How long after it was written the file is written again because something has happened: whoever
/// reads it looks every few seconds, and a storm of exits is one piece of news.
const REWRITE_PAUSE: Duration = Duration::from_secs(1);

/// How long after that though nothing has: memory and queues change without a word. As often as
/// programs that keep figures usually look; it is all that wakes an idle master.
const REWRITE_PERIOD: Duration = Duration::from_secs(15);

/// Who may read it: everybody, whatever the umask; the program that collects it is another user's.
const MODE: u32 = 0o644;

/// How far the file is.
#[derive(Debug, Default)]
pub struct MetricsFile {
    /// When it was last written, or could not be.
    pub(super) tried_at: Option<Monotonic>,
    /// Whether something has happened since.
    pub(super) is_stale: bool,
    /// Whether that failed, and was logged.
    pub(super) has_failed: bool,
}

impl MetricsFile {
    /// Something has happened.
    pub fn mark_stale(&mut self) {
        self.is_stale = true;
    }

    /// When it is to be written again.
    pub fn due_at(&self) -> Monotonic {
        let pause = if self.is_stale { REWRITE_PAUSE } else { REWRITE_PERIOD };
        self.tried_at.map_or(Monotonic(0), |at| at + pause)
    }
}

/// Puts a new file in the place of the old one. What has the name and is no regular file, such as a
/// device, stays.
///
/// # Errors
/// It cannot be written.
pub fn replace(path: &Path, text: &str) -> io::Result<OwnedFile> {
    let entry = Entry::followed(path)?;
    if entry.stat()?.is_some_and(|found| !trusted_path::is_regular(&found)) {
        return Err(io::Error::other("what has this name is not a regular file"));
    }
    let file = entry.replace(MODE, |file| {
        file.set_permissions(Permissions::from_mode(MODE))?;
        file.write_all(text.as_bytes())
    })?;
    OwnedFile::of(path, &file)
}
