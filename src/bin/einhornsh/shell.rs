//! What is the same for all commands of a session.

use super::options::Options;
use super::screen::Screen;

/// What is the same for all commands.
pub(crate) struct Shell {
    pub(crate) screen: Screen,
    pub(crate) options: Options,
    /// The options that lead to the same master again.
    pub(crate) address: String,
    /// Whether somebody who reads JSON wants to know of failures too.
    pub(crate) is_json_wanted: bool,
    /// The exit status: the first one of the commands that is not 0.
    pub(crate) status: u8,
}

impl Shell {
    /// Keeps the first status that is not 0.
    pub(crate) fn note(&mut self, status: u8) {
        if self.status == 0 {
            self.status = status;
        }
    }
}
