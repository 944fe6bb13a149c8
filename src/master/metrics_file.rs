//! The file of `--metrics-file`: kept up to date, whole at any moment, and never a reason to fail.

use std::fs::Permissions;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use crate::decide::{Level, ReportKind};
use crate::master::Master;
use crate::master::now::now;
use crate::state::Monotonic;
use crate::sys::entry::{self, Entry};
use crate::sys::file::Owned;

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
    tried_at: Option<Monotonic>,
    /// Whether something has happened since.
    is_outdated: bool,
    /// Whether that failed, and was logged.
    has_failed: bool,
}

impl MetricsFile {
    /// Something has happened.
    pub fn outdate(&mut self) {
        self.is_outdated = true;
    }

    fn due_at(&self) -> Monotonic {
        let pause = if self.is_outdated { REWRITE_PAUSE } else { REWRITE_PERIOD };
        self.tried_at.map_or(Monotonic(0), |at| at + pause)
    }
}

impl Master {
    /// When the file is to be written again; `None` without one.
    pub(super) fn metrics_due_at(&self) -> Option<Monotonic> {
        self.state.config.metrics_file.as_ref().map(|_| self.metrics_file.due_at())
    }

    /// Writes the file if that is due. Nothing is waited for but the file system.
    pub(super) fn keep_metrics(&mut self) {
        let Some(path) = self.state.config.metrics_file.clone() else { return };
        let now = now().monotonic;
        if self.metrics_file.due_at() > now {
            return;
        }
        self.metrics_file.tried_at = Some(now);
        self.metrics_file.is_outdated = false;
        let text = self.report(ReportKind::Metrics);
        let written = replace(&path, self.state.master_pid.0, &text);
        let has_failed = written.is_err();
        match written {
            Err(error) if !self.metrics_file.has_failed => {
                let shown = path.display();
                self.log(Level::Error, &format!("Cannot write the metrics file {shown}: {error}"));
            }
            Err(_) => {}
            Ok(file) => {
                if self.metrics_file.has_failed {
                    let shown = path.display();
                    self.log(Level::Info, &format!("The metrics file {shown} is written again"));
                }
                self.files.retain(|known| known.path() != path);
                self.files.push(file);
            }
        }
        self.metrics_file.has_failed = has_failed;
    }
}

/// Puts a new file in the place of the old one. What has the name and is no regular file, such as a
/// device, stays.
fn replace(path: &Path, pid: i32, text: &str) -> io::Result<Owned> {
    let entry = Entry::followed(path)?;
    if entry.stat()?.is_some_and(|found| !entry::is_regular(&found)) {
        return Err(io::Error::other("what has this name is not a regular file"));
    }
    let file = entry.replace(pid, MODE, |file| {
        file.set_permissions(Permissions::from_mode(MODE))?;
        file.write_all(text.as_bytes())
    })?;
    Owned::of(path, &file)
}
