//! The context of one step: the state, the time, and the actions decided so far.

use crate::decide::action::{Action, Level};
use crate::state::{Now, Pid, State};

/// The context of one step: the state, the time, and the actions decided so far.
pub(super) struct Turn<'a> {
    pub(super) state: &'a mut State,
    pub(super) now: Now,
    pub(super) actions: Vec<Action>,
}

impl Turn<'_> {
    pub(super) fn log(&mut self, level: Level, message: impl Into<String>) {
        self.actions.push(Action::Log { level, message: message.into() });
    }

    pub(super) fn debug(&mut self, message: impl Into<String>) {
        self.log(Level::Debug, message);
    }

    pub(super) fn info(&mut self, message: impl Into<String>) {
        self.log(Level::Info, message);
    }

    pub(super) fn error(&mut self, message: impl Into<String>) {
        self.log(Level::Error, message);
    }

    /// Every worker, whatever its generation.
    pub(super) fn all_workers(&self) -> Vec<Pid> {
        self.state.workers.keys().copied().collect()
    }
}

/// `[11, 12]`, as the original lists pids.
pub(super) fn list(pids: &[Pid]) -> String {
    let words: Vec<String> = pids.iter().map(Pid::to_string).collect();
    format!("[{}]", words.join(", "))
}

/// A count of the state as a number of things.
pub(super) fn size(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// `1 worker`, `2 workers`.
pub(super) fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
