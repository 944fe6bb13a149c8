//! Standard error as a place to write to that never makes the writer wait.
//!
//! Workers share the open file description of standard error, so it cannot be made non-blocking
//! for the master alone. A pipe or a terminal is opened once more, which gives a description of
//! our own; a socket is sent to with a flag; regular files do not block.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, send};
use nix::sys::stat::{SFlag, fstat};

/// How much fits a pipe that poll(2) calls writable; see pipe(7), `PIPE_BUF`.
const SAFE_WRITE_MAX: usize = libc::PIPE_BUF;

/// A place for log lines.
#[derive(Debug)]
pub enum LogOutput {
    /// A pipe or terminal, opened anew and non-blocking.
    Reopened(OwnedFd),
    /// A socket.
    Socket,
    /// A regular file.
    File,
    /// Something that could not be opened anew: asked with poll(2) before each write, so only a
    /// worker that fills the pipe at that very moment can make the master wait.
    Polled,
}

impl LogOutput {
    /// Finds out what standard error is.
    pub fn standard_error() -> LogOutput {
        let kind = fstat(io::stderr().as_fd())
            .map_or(SFlag::empty(), |stat| SFlag::from_bits_truncate(stat.st_mode & libc::S_IFMT));
        match kind {
            SFlag::S_IFSOCK => LogOutput::Socket,
            SFlag::S_IFREG => LogOutput::File,
            _ => OpenOptions::new()
                .write(true)
                .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
                .open("/proc/self/fd/2")
                .map_or(LogOutput::Polled, |file| LogOutput::Reopened(file.into())),
        }
    }

    /// Writes what fits now.
    ///
    /// # Errors
    /// `WouldBlock` when nothing fits; any other error means that nobody reads any more.
    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let stderr = io::stderr();
        match self {
            LogOutput::Reopened(own) => Ok(nix::unistd::write(own, bytes)?),
            LogOutput::File => Ok(nix::unistd::write(stderr.as_fd(), bytes)?),
            LogOutput::Socket => {
                let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
                Ok(send(stderr.as_raw_fd(), bytes, flags)?)
            }
            LogOutput::Polled => {
                let mut fds = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
                if poll(&mut fds, PollTimeout::ZERO)? == 0 {
                    return Err(Errno::EAGAIN.into());
                }
                Ok(nix::unistd::write(stderr.as_fd(), &bytes[..bytes.len().min(SAFE_WRITE_MAX)])?)
            }
        }
    }

    /// What to wait on for room, where waiting makes sense.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match self {
            LogOutput::Reopened(own) => Some(own.as_fd()),
            // SAFETY: nobody closes standard error: the runtime opens a missing one at start.
            LogOutput::Socket | LogOutput::Polled => Some(unsafe { BorrowedFd::borrow_raw(2) }),
            LogOutput::File => None,
        }
    }
}
