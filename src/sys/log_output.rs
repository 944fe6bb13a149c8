//! Standard error as an output that never blocks the writer.
//!
//! Workers share the open file description of standard error, so it cannot be made non-blocking for
//! the master alone. A pipe or a terminal is reopened, which gives a description of our own; a
//! socket is sent to with MSG_DONTWAIT; regular files do not block.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, send};
use nix::sys::stat::{SFlag, fstat};

/// How many bytes a pipe takes when poll(2) calls it writable; see pipe(7), `PIPE_BUF`.
const SAFE_WRITE_MAX: usize = libc::PIPE_BUF;

/// What standard error is, and so how it is written to.
#[derive(Debug)]
pub enum LogOutput {
    /// A pipe or terminal, reopened non-blocking.
    Reopened(OwnedFd),
    /// A socket.
    Socket,
    /// A regular file.
    File,
    /// Something that could not be reopened: polled before each write, so that it can block the
    /// master only if a worker fills the pipe in between.
    Polled,
}

impl LogOutput {
    /// Inspects standard error.
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

    /// Writes as much as fits now. Returns the number of bytes.
    ///
    /// # Errors
    /// `WouldBlock` when nothing fits; any other error means that the reader is gone or the write
    /// failed for good.
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

    /// The descriptor to watch for room, unless it never blocks.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match self {
            LogOutput::Reopened(own) => Some(own.as_fd()),
            // SAFETY: standard error is never closed: the runtime opens a missing one at start.
            LogOutput::Socket | LogOutput::Polled => Some(unsafe { BorrowedFd::borrow_raw(2) }),
            LogOutput::File => None,
        }
    }
}
