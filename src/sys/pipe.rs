//! Pipes that somebody else writes to: read to their end, or looked into.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, tee};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::sys::descriptor::{self, borrow, is_pipe};

/// What an unprivileged process may make a pipe hold, `fs.pipe-max-size` of pipe(7).
const CAPACITY: i32 = 1024 * 1024;

/// How much is read at a time.
const CHUNK: usize = 64 * 1024;

/// Whether the reading end of a pipe is open under a number.
pub fn is_reading_end(number: RawFd) -> bool {
    is_pipe(number)
        && fcntl(borrow(number), FcntlArg::F_GETFL)
            .is_ok_and(|flags| flags & OFlag::O_ACCMODE.bits() == OFlag::O_RDONLY.bits())
}

/// Reads a pipe to its end, at most `max` bytes, for at most `patience`.
///
/// # Errors
/// `FileTooLarge`, `TimedOut`, and those of read(2).
pub fn read_to_end(number: RawFd, max: usize, patience: Duration) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + patience;
    let pipe = borrow(number);
    let mut bytes = Vec::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        if wait(pipe, PollFlags::POLLIN, deadline)?.is_empty() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match descriptor::read(pipe, &mut chunk) {
            Ok(0) => return Ok(bytes),
            Ok(count) => bytes.extend_from_slice(&chunk[..count]),
            Err(error) if is_passing(&error) => {}
            Err(error) => return Err(error),
        }
        if bytes.len() > max {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
    }
}

/// What is in a pipe whose writers have finished, without taking it out: whoever reads it later
/// finds it there. `None` when they have not finished within `patience`, because the pipe is not
/// large enough for all of it or for another reason, or when there is nothing in it.
///
/// # Errors
/// Those of pipe2(2), tee(2) and read(2).
pub fn peek(number: RawFd, patience: Duration) -> io::Result<Option<Vec<u8>>> {
    let pipe = borrow(number);
    // So that all of it fits at once; the writer goes on when there is room.
    let _ = fcntl(pipe, FcntlArg::F_SETPIPE_SZ(CAPACITY));
    let deadline = Instant::now() + patience;
    // POLLHUP is told unasked.
    if !wait(pipe, PollFlags::empty(), deadline)?.contains(PollFlags::POLLHUP) {
        return Ok(None);
    }
    let (copy, copy_end) = descriptor::pipe()?;
    let _ = fcntl(&copy_end, FcntlArg::F_SETPIPE_SZ(CAPACITY));
    let length = usize::try_from(CAPACITY).unwrap_or(CHUNK);
    let copied = match tee(pipe, &copy_end, length, SpliceFFlags::SPLICE_F_NONBLOCK) {
        Ok(copied) => copied,
        Err(Errno::EAGAIN) => 0,
        Err(errno) => return Err(errno.into()),
    };
    drop(copy_end);
    let mut bytes = vec![0; copied];
    let mut filled = 0;
    while filled < copied {
        match descriptor::read(copy.as_fd(), &mut bytes[filled..])? {
            0 => break,
            count => filled += count,
        }
    }
    bytes.truncate(filled);
    Ok(Some(bytes).filter(|bytes| !bytes.is_empty()))
}

/// Waits until something of these happens; nothing when the time is over.
fn wait(pipe: BorrowedFd<'_>, events: PollFlags, deadline: Instant) -> io::Result<PollFlags> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut asked = [PollFd::new(pipe, events)];
        match poll(&mut asked, left) {
            Ok(0) => return Ok(PollFlags::empty()),
            Ok(_) => return Ok(asked[0].revents().unwrap_or(PollFlags::empty())),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn what_was_looked_at_is_still_there() {
        let (read, write) = descriptor::pipe().unwrap();
        let mut write = std::fs::File::from(write);
        let written = vec![7; 200_000];
        let _ = fcntl(&write, FcntlArg::F_SETPIPE_SZ(CAPACITY));
        write.write_all(&written).unwrap();
        let number = read.as_raw_fd();
        assert!(is_reading_end(number) && !is_reading_end(write.as_raw_fd()));
        assert_eq!(peek(number, Duration::ZERO).unwrap(), None, "somebody may write more");
        drop(write);
        assert_eq!(peek(number, Duration::from_secs(1)).unwrap().as_ref(), Some(&written));
        let all = read_to_end(number, written.len(), Duration::from_secs(1)).unwrap();
        assert_eq!(all, written);
        assert_eq!(peek(number, Duration::from_secs(1)).unwrap(), None, "it is empty");
    }

    #[test]
    fn reading_is_bounded() {
        let (read, write) = descriptor::pipe().unwrap();
        let mut write = std::fs::File::from(write);
        let number = read.as_raw_fd();
        write.write_all(b"abc").unwrap();
        let error = read_to_end(number, 2, Duration::from_secs(1)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        let error = read_to_end(number, 2, Duration::ZERO).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
