//! Executing another program in this process. Everything that has to change for it is changed here,
//! and undone in reverse if the exec returns.

use std::ffi::CString;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::stat::{Mode, umask};

use crate::sys::descriptor;
use crate::sys::limit::Limit;
use crate::sys::signal::{ForeignImage, Shield};
use crate::sys::spawn::{Program, execute, pointers};

/// A program to execute, and with what settings.
#[derive(Debug)]
pub struct Exec<'a> {
    /// The program.
    pub program: Program<'a>,
    /// Its arguments, the first one its own name.
    pub arguments: &'a [CString],
    /// Its whole environment, `NAME=value`.
    pub environment: &'a [CString],
    /// Descriptors that it inherits, under the same numbers.
    pub carried: &'a [RawFd],
    /// Its working directory; this process's when absent.
    pub directory: Option<BorrowedFd<'a>>,
    /// Its umask; this process's when absent.
    pub umask: Option<u32>,
    /// Limits to change for it. Only root can undo lowering a hard limit.
    pub limits: &'a [Limit],
    /// Set if the program does not handle signals from its first statement on, as ours does.
    pub foreign_image: Option<ForeignImage>,
}

/// Executes another program. Returns only if that failed, with everything as before.
pub fn exec(plan: &Exec<'_>) -> io::Error {
    let arguments = pointers(plan.arguments);
    let environment = pointers(plan.environment);
    let saved = match SavedContext::apply(plan) {
        Ok(saved) => saved,
        Err(error) => return error,
    };
    let shield = plan.foreign_image.map(Shield::raise);
    set_descriptor_flags(plan.carried, 0);
    // SAFETY: the pointers are to strings that live through the call, and each list ends with null.
    unsafe { execute(plan.program, &arguments, &environment) };
    let errno = Errno::last();
    set_descriptor_flags(plan.carried, libc::FD_CLOEXEC);
    drop(shield);
    drop(saved);
    errno.into()
}

/// Working directory, umask and limits before they were changed; restored in reverse when dropped.
#[derive(Debug, Default)]
struct SavedContext {
    directory: Option<OwnedFd>,
    umask: Option<Mode>,
    limits: Vec<Limit>,
}

impl SavedContext {
    /// On failure, what was already changed is restored.
    fn apply(plan: &Exec<'_>) -> io::Result<SavedContext> {
        let failed = |what: &str, error: io::Error| io::Error::other(format!("{what}: {error}"));
        let mut before = SavedContext::default();
        if let Some(directory) = plan.directory {
            // By its inode, since it may have been deleted and must be restored even so.
            let own = descriptor::open_path(Path::new("."))
                .map_err(|error| failed("the master's working directory", error))?;
            nix::unistd::fchdir(directory)
                .map_err(|errno| failed("cannot enter its working directory", errno.into()))?;
            before.directory = Some(own);
        }
        before.umask = plan.umask.map(|mode| umask(Mode::from_bits_truncate(mode)));
        for limit in plan.limits {
            let own = limit.current().map_err(|error| failed("cannot read a limit", error))?;
            limit.set().map_err(|error| failed(&format!("cannot set {limit}"), error))?;
            before.limits.push(own);
        }
        Ok(before)
    }
}

impl Drop for SavedContext {
    fn drop(&mut self) {
        for limit in self.limits.iter().rev() {
            // A lowered soft limit can be raised again up to the hard one.
            let _ = limit.set();
        }
        if let Some(mode) = self.umask {
            umask(mode);
        }
        if let Some(directory) = &self.directory {
            let _ = nix::unistd::fchdir(directory);
        }
    }
}

fn set_descriptor_flags(numbers: &[RawFd], flags: libc::c_int) {
    for number in numbers {
        // SAFETY: F_SETFD changes the descriptor table only.
        unsafe { libc::fcntl(*number, libc::F_SETFD, flags) };
    }
}
