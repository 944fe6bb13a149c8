//! The terminal that the master was started from, which what it starts must not share: a program
//! that does can stop the master (TOSTOP) and type into the shell beside it (TIOCSTI), and is
//! itself stopped for good when it reads from the terminal (decision 16).

use std::fs::File;
use std::io::{self, IsTerminal};

use crate::sys::session::{Leads, has_controlling_terminal};

/// How the master is tied to a terminal. Each image looks anew: the terminal may be gone since.
#[derive(Clone, Copy, Debug)]
pub struct Terminal {
    is_controlling: bool,
    is_standard_input: bool,
}

impl Terminal {
    /// That of this process.
    pub fn of_master() -> Terminal {
        Terminal {
            is_controlling: has_controlling_terminal(),
            is_standard_input: io::stdin().is_terminal(),
        }
    }

    /// What a program that the master starts becomes the leader of.
    pub fn leads(self) -> Leads {
        match self.is_controlling {
            true => Leads::Session,
            false => Leads::Group,
        }
    }

    /// Its standard input; the master's when absent. In a session of its own a program that reads
    /// from the terminal is not stopped: it would take what is typed for the shell.
    ///
    /// # Errors
    /// Those of open(2) for `/dev/null`.
    pub fn standard_input(self) -> io::Result<Option<File>> {
        let is_kept = !(self.is_controlling && self.is_standard_input);
        (!is_kept).then(|| File::open("/dev/null")).transpose()
    }
}
