//! Becoming another program in the same process. What has to change for it is changed in one place
//! and undone in reverse if the exec returns.

use std::ffi::CString;
use std::io;
use std::os::fd::RawFd;

use nix::errno::Errno;

use crate::sys::limit::{self, OpenFiles};
use crate::sys::signal::{Shield, Stranger};
use crate::sys::spawn::{Program, execute, pointers};

/// What to become, and how.
#[derive(Debug)]
pub struct Exec<'a> {
    /// The program.
    pub program: Program<'a>,
    /// Its arguments, the first one its own name.
    pub arguments: &'a [CString],
    /// Its whole environment, `NAME=value`.
    pub environment: &'a [CString],
    /// The descriptors that it gets, under the same numbers.
    pub carried: &'a [RawFd],
    /// The limit of open files that it gets.
    pub open_files: Option<OpenFiles>,
    /// What runs in our place first, if it is not a program that takes signals over at once, as
    /// ours does.
    pub stranger: Option<Stranger>,
}

/// Becomes another program. Answers only when that failed, with everything as it was.
pub fn exec(plan: &Exec<'_>) -> io::Error {
    let arguments = pointers(plan.arguments);
    let environment = pointers(plan.environment);
    let limits = plan.open_files.and_then(|wanted| {
        let before = limit::open_files().ok()?;
        limit::set_open_files(wanted).ok()?;
        Some(before)
    });
    let shield = plan.stranger.map(Shield::raise);
    let inheritance = Inheritance::open(plan.carried);
    // SAFETY: the pointers are to strings that live through the call, each list ended by null.
    unsafe { execute(plan.program, &arguments, &environment) };
    let errno = Errno::last();
    drop(inheritance);
    drop(shield);
    if let Some(before) = limits {
        // The soft limit was lowered below the hard one, so it can be raised again.
        let _ = limit::set_open_files(before);
    }
    errno.into()
}

/// Descriptors that the next program inherits; closed to it again when dropped.
struct Inheritance<'a>(&'a [RawFd]);

impl Inheritance<'_> {
    fn open(numbers: &[RawFd]) -> Inheritance<'_> {
        set_flags(numbers, 0);
        Inheritance(numbers)
    }
}

impl Drop for Inheritance<'_> {
    fn drop(&mut self) {
        set_flags(self.0, libc::FD_CLOEXEC);
    }
}

fn set_flags(numbers: &[RawFd], flags: libc::c_int) {
    for number in numbers {
        // SAFETY: F_SETFD changes the descriptor table only.
        unsafe { libc::fcntl(*number, libc::F_SETFD, flags) };
    }
}
