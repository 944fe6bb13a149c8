//! The state of a session.

use super::options::Options;
use super::screen::Screen;

/// A session of einhornsh.
pub(crate) struct Shell {
    pub(crate) screen: Screen,
    pub(crate) options: Options,
    /// The options that select the same master.
    pub(crate) address: String,
    /// Whether errors are also printed as JSON, because a command or einhornsh was given `--json`.
    pub(crate) is_json_wanted: bool,
    /// The exit status: the first of a command that is not 0.
    pub(crate) status: u8,
}

impl Shell {
    /// Records the status of a command; the first that is not 0 counts.
    pub(crate) fn record(&mut self, status: u8) {
        if self.status == 0 {
            self.status = status;
        }
    }
}
