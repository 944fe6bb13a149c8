//! How this process was started, recorded before anything is changed.

use std::ffi::OsString;
use std::os::fd::RawFd;
use std::path::PathBuf;

use crate::master::environment::{variable, without_own_variables};
use crate::master::program::find_program;
use crate::schema::Origin;
use crate::sys::limit::Limit;
use crate::sys::process;
use crate::sys::signal::Mask;

/// How this process was started.
#[derive(Clone, Debug)]
pub struct Launch {
    /// `argv[0]`.
    pub own_name: OsString,
    /// The other arguments.
    pub arguments: Vec<OsString>,
    /// The environment.
    pub environment: Vec<(OsString, OsString)>,
    /// The working directory, which relative paths refer to.
    pub directory: PathBuf,
    /// The signal mask.
    pub mask: Mask,
    /// The descriptors from 3 up that were open before this process opened any.
    pub open_at_start: Vec<RawFd>,
}

impl Launch {
    /// What the first image of a master passes on to workers and later images.
    pub(super) fn origin(&self, open_files: Limit) -> Origin {
        Origin {
            own_path: self.own_path(),
            own_name: self.own_name.clone(),
            environment: without_own_variables(&self.environment),
            blocked_signals: self.mask.to_bits(),
            open_files_soft: open_files.soft,
            open_files_hard: open_files.hard,
            nice: process::nice(),
        }
    }

    /// The master's own program as it was typed. Symbolic links stay unresolved, because every
    /// re-exec looks the name up again (behaviour.md section 8).
    fn own_path(&self) -> PathBuf {
        match find_program(&self.own_name, variable(&self.environment, "PATH")) {
            Ok(found) => self.directory.join(found),
            // A launcher passed an `argv[0]` that is not a program.
            Err(_) => std::fs::read_link("/proc/self/exe")
                .unwrap_or_else(|_| self.directory.join(&self.own_name)),
        }
    }
}
