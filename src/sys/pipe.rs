//! Pipes that another process writes to: reading to the end, and peeking.

use std::io;
use std::os::fd::{AsFd, RawFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, tee};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::sys::descriptor::{self, borrow, is_pipe};

/// The largest capacity that an unprivileged process may give a pipe, `fs.pipe-max-size` of
/// pipe(7).
const CAPACITY: i32 = 1024 * 1024;

/// How often to check a pipe that is still being written to.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// How many bytes are read at a time.
const CHUNK: usize = 64 * 1024;

/// Whether a descriptor is the reading end of a pipe.
pub fn is_reading_end(number: RawFd) -> bool {
    is_pipe(number)
        && fcntl(borrow(number), FcntlArg::F_GETFL)
            .is_ok_and(|flags| flags & OFlag::O_ACCMODE.bits() == OFlag::O_RDONLY.bits())
}

/// Reads a pipe to end of file, at most `max` bytes, for at most `timeout`.
///
/// # Errors
/// `FileTooLarge`, `TimedOut`, and those of read(2).
pub fn read_to_end(number: RawFd, max: usize, timeout: Duration) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + timeout;
    let pipe = borrow(number);
    let mut bytes = Vec::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        if poll_until(&mut [PollFd::new(pipe, PollFlags::POLLIN)], deadline)? == 0 {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match descriptor::read(pipe, &mut chunk) {
            Ok(0) => return Ok(bytes),
            Ok(count) => bytes.extend_from_slice(&chunk[..count]),
            Err(error) if is_transient(&error) => {}
            Err(error) => return Err(error),
        }
        if bytes.len() > max {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
    }
}

/// Finds a pipe whose content begins with `beginning`, waiting until the deadline for empty pipes
/// to fill. Pipes with other content, or that cannot be peeked at, are skipped.
///
/// # Errors
/// Those of poll(2).
pub fn find(numbers: &[RawFd], beginning: &[u8], deadline: Instant) -> io::Result<Option<RawFd>> {
    let mut numbers = numbers.to_vec();
    let start_of = |number| peek_at_most(number, beginning.len(), CAPACITY);
    loop {
        for number in numbers.clone() {
            match start_of(number) {
                Ok(start) if start == beginning => return Ok(Some(number)),
                Ok(start) if beginning.starts_with(&start) => {}
                _ => numbers.retain(|other| *other != number),
            }
        }
        if numbers.is_empty() {
            return Ok(None);
        }
        let fds = |number: &RawFd| PollFd::new(borrow(*number), PollFlags::POLLIN);
        let mut fds: Vec<PollFd<'_>> = numbers.iter().map(fds).collect();
        poll_until(&mut fds, deadline)?;
        // A closed pipe that holds less than the beginning will never fill.
        let is_over = |fd: &PollFd<'_>| fd.revents().is_none_or(|revents| !revents.is_empty());
        let over: Vec<bool> = fds.iter().map(is_over).collect();
        if !over.contains(&true) {
            return Ok(None);
        }
        let has_begun = |number| start_of(number).is_ok_and(|start| start == beginning);
        let mut over = over.into_iter();
        numbers.retain(|number| over.next() == Some(false) || has_begun(*number));
    }
}

/// Whether a pipe is empty and has no writer left.
pub fn is_at_eof(number: RawFd) -> bool {
    let mut fds = [PollFd::new(borrow(number), PollFlags::empty())];
    let is_over = poll_until(&mut fds, Instant::now()).is_ok_and(|count| count > 0);
    is_over && buffered(number).is_ok_and(|held| held == 0)
}

/// The content of a pipe once its writers have closed it, left there for a later reader.
///
/// # Errors
/// `FileTooLarge` when the pipe is full and not closed yet, `TimedOut` when it is not closed by the
/// deadline, and those of poll(2), pipe2(2), tee(2) and read(2).
pub fn peek(number: RawFd, deadline: Instant) -> io::Result<Vec<u8>> {
    let pipe = borrow(number);
    // So that all of it fits at once; a blocked writer continues when there is room.
    let _ = fcntl(pipe, FcntlArg::F_SETPIPE_SZ(CAPACITY));
    let capacity = usize::try_from(fcntl(pipe, FcntlArg::F_GETPIPE_SZ)?).unwrap_or_default();
    loop {
        // POLLHUP is reported without being requested.
        let mut fds = [PollFd::new(pipe, PollFlags::empty())];
        poll_until(&mut fds, deadline.min(Instant::now() + POLL_INTERVAL))?;
        if fds[0].revents().is_some_and(|revents| revents.contains(PollFlags::POLLHUP)) {
            return peek_all(number, CAPACITY);
        }
        if buffered(number)? >= capacity {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        if Instant::now() >= deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
}

/// All bytes in a pipe, copied through a pipe of the given capacity.
fn peek_all(number: RawFd, capacity: i32) -> io::Result<Vec<u8>> {
    let held = buffered(number)?;
    let bytes = peek_at_most(number, held, capacity)?;
    match bytes.len() == held {
        true => Ok(bytes),
        false => {
            Err(io::Error::other(format!("only {} of {held} bytes could be copied", bytes.len())))
        }
    }
}

fn buffered(number: RawFd) -> io::Result<usize> {
    let mut count: libc::c_int = 0;
    // SAFETY: the kernel writes one int to `count`, which lives through the call.
    Errno::result(unsafe { libc::ioctl(number, libc::FIONREAD, &raw mut count) })?;
    Ok(usize::try_from(count).unwrap_or_default())
}

/// Copies what a pipe holds now, at most `max` bytes, through a pipe of the given capacity, and
/// leaves it there.
fn peek_at_most(number: RawFd, max: usize, capacity: i32) -> io::Result<Vec<u8>> {
    let (copy, copy_end) = descriptor::pipe()?;
    let _ = fcntl(&copy_end, FcntlArg::F_SETPIPE_SZ(capacity));
    let copied = match tee(borrow(number), &copy_end, max, SpliceFFlags::SPLICE_F_NONBLOCK) {
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
    Ok(bytes)
}

/// Polls until a descriptor is ready or the deadline has passed. Returns how many are ready.
fn poll_until(fds: &mut [PollFd<'_>], deadline: Instant) -> io::Result<i32> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match poll(fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
            Ok(count) => return Ok(count),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn peeking_leaves_the_content() {
        let (read, write) = descriptor::pipe().unwrap();
        let mut write = std::fs::File::from(write);
        let written = vec![7; 200_000];
        let _ = fcntl(&write, FcntlArg::F_SETPIPE_SZ(CAPACITY));
        write.write_all(&written).unwrap();
        let number = read.as_raw_fd();
        assert!(is_reading_end(number) && !is_reading_end(write.as_raw_fd()));
        let error = peek(number, Instant::now()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "the writer may write more");
        drop(write);
        assert_eq!(peek(number, soon()).unwrap(), written);
        let error = peek_all(number, 4096).unwrap_err().to_string();
        assert_eq!(error, "only 4096 of 200000 bytes could be copied");
        let all = read_to_end(number, written.len(), Duration::from_secs(1)).unwrap();
        assert_eq!(all, written);
        assert_eq!(peek(number, soon()).unwrap(), [0; 0], "it is empty");
    }

    #[test]
    fn content_beyond_the_capacity_is_not_waited_for() {
        let (read, write) = descriptor::pipe().unwrap();
        let mut writer = std::fs::File::from(write.try_clone().unwrap());
        let endless = std::thread::spawn(move || while writer.write_all(&[7; 65536]).is_ok() {});
        let deadline = Instant::now() + Duration::from_secs(600);
        let error = peek(read.as_raw_fd(), deadline).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        drop(read);
        endless.join().unwrap();
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    #[test]
    fn the_pipe_with_the_right_beginning_is_found() {
        let pipe_with = |text: &[u8]| {
            let (read, write) = descriptor::pipe().unwrap();
            let mut write = std::fs::File::from(write);
            write.write_all(text).unwrap();
            (read, write)
        };
        let pipes = [pipe_with(b"log"), pipe_with(b""), pipe_with(b"--"), pipe_with(b"---\n")];
        let numbers: Vec<RawFd> = pipes.iter().map(|(read, _)| read.as_raw_fd()).collect();
        assert_eq!(find(&numbers, b"---", soon()).unwrap(), Some(numbers[3]));
        assert_eq!(find(&numbers[..1], b"---", soon()).unwrap(), None, "it holds something else");
        assert_eq!(find(&numbers[..3], b"---", Instant::now()).unwrap(), None, "none has filled");
        // A writing end cannot be read.
        let unreadable = [pipes[0].1.as_raw_fd(), numbers[3]];
        assert_eq!(find(&unreadable, b"---", soon()).unwrap(), Some(numbers[3]));
        let mut late = pipes[1].1.try_clone().unwrap();
        let writer = std::thread::spawn(move || late.write_all(b"---"));
        assert_eq!(find(&numbers[..2], b"---", soon()).unwrap(), Some(numbers[1]));
        writer.join().unwrap().unwrap();
        let (closed, end) = pipe_with(b"--");
        drop(end);
        assert_eq!(find(&[closed.as_raw_fd()], b"---", soon()).unwrap(), None, "it is closed");
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
