//! Waiting for descriptors; the handled signals are unblocked only during the wait.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::sys::signal::Mask;

/// How many ready descriptors one wait returns; the rest come with the next one, in turn, so that a
/// flood of one kind cannot hold up the loop.
const READY_MAX: usize = 64;

/// The events to wait for on a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest {
    /// Data to read, a connection to accept, or end of file.
    pub read: bool,
    /// Writable.
    pub write: bool,
}

impl Interest {
    /// Readable only.
    pub const READ: Interest = Interest { read: true, write: false };
    /// Writable only.
    pub const WRITE: Interest = Interest { read: false, write: true };
}

/// A descriptor that is ready, by the token that it was added with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// The token.
    pub token: u64,
    /// Readable, closed by the other end, or with a pending error.
    pub read: bool,
    /// Writable, or with a pending error.
    pub write: bool,
    /// Closed by the other end, or with a pending error; reported whatever the interest.
    pub hung_up: bool,
}

/// An epoll(7) instance, close-on-exec.
#[derive(Debug)]
pub struct Poll(Epoll);

impl Poll {
    /// A new one that watches nothing.
    ///
    /// # Errors
    /// Those of epoll_create1(2).
    pub fn new() -> io::Result<Poll> {
        Ok(Poll(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?))
    }

    /// Watches a descriptor.
    ///
    /// # Errors
    /// Those of epoll_ctl(2).
    pub fn add(
        &self,
        descriptor: impl AsFd,
        token: impl Into<u64>,
        interest: Interest,
    ) -> io::Result<()> {
        Ok(self.0.add(descriptor, EpollEvent::new(flags(interest), token.into()))?)
    }

    /// Changes the events to wait for.
    ///
    /// # Errors
    /// Those of epoll_ctl(2).
    pub fn change(
        &self,
        descriptor: impl AsFd,
        token: impl Into<u64>,
        interest: Interest,
    ) -> io::Result<()> {
        Ok(self.0.modify(descriptor, &mut EpollEvent::new(flags(interest), token.into()))?)
    }

    /// Stops watching a descriptor.
    ///
    /// # Errors
    /// Those of epoll_ctl(2).
    pub fn remove(&self, descriptor: impl AsFd) -> io::Result<()> {
        Ok(self.0.delete(descriptor)?)
    }

    /// Waits until a descriptor is ready, the timeout has passed (`None` waits for ever) or a
    /// signal arrived, with `mask` in force meanwhile.
    ///
    /// # Errors
    /// Those of epoll_pwait(2); EINTR is an empty result instead.
    pub fn wait(&self, timeout: Option<Duration>, mask: &Mask) -> io::Result<Vec<Ready>> {
        // epoll_pwait(2) with ready descriptors does not deliver signals, so a flood of clients
        // would keep them out for ever. Deliver them here, so that no caller has to.
        mask.deliver_pending()?;
        let mut events = [EpollEvent::empty(); READY_MAX];
        // Rounded up: a wait that ends early would find nothing due, and wait again.
        let timeout_ms = timeout.map_or(-1, |timeout| {
            let up = timeout.as_nanos().div_ceil(1_000_000);
            libc::c_int::try_from(up).unwrap_or(libc::c_int::MAX)
        });
        let room = libc::c_int::try_from(READY_MAX).unwrap_or(libc::c_int::MAX);
        // SAFETY: `events` has room for READY_MAX entries and lives through the call, EpollEvent
        // is a transparent `epoll_event`, and the mask is an initialised sigset_t.
        let answer = unsafe {
            libc::epoll_pwait(
                self.0.0.as_raw_fd(),
                events.as_mut_ptr().cast(),
                room,
                timeout_ms,
                mask.as_ptr(),
            )
        };
        match Errno::result(answer) {
            Err(Errno::EINTR) => Ok(Vec::new()),
            Err(errno) => Err(errno.into()),
            Ok(count) => {
                let count = usize::try_from(count).unwrap_or(0);
                Ok(events[..count].iter().map(ready).collect())
            }
        }
    }

    /// One descriptor that is ready now, round-robin: a descriptor just returned comes last the
    /// next time.
    ///
    /// # Errors
    /// Those of epoll_wait(2).
    pub fn next_ready(&self) -> io::Result<Option<Ready>> {
        let mut events = [EpollEvent::empty()];
        // The kernel moves what it reports to the end of its ready list. With more events per call
        // than the caller handles, the first ones would starve the others.
        let count = self.0.wait(&mut events, EpollTimeout::ZERO)?;
        Ok(events[..count].first().map(ready))
    }
}

/// Readable while any watched descriptor is ready.
impl AsFd for Poll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.0.as_fd()
    }
}

fn flags(interest: Interest) -> EpollFlags {
    let mut flags = EpollFlags::empty();
    flags.set(EpollFlags::EPOLLIN, interest.read);
    flags.set(EpollFlags::EPOLLOUT, interest.write);
    flags
}

fn ready(event: &EpollEvent) -> Ready {
    let flags = event.events();
    let ended = EpollFlags::EPOLLERR | EpollFlags::EPOLLHUP;
    Ready {
        token: event.data(),
        read: flags.intersects(EpollFlags::EPOLLIN | ended),
        write: flags.intersects(EpollFlags::EPOLLOUT | EpollFlags::EPOLLERR),
        hung_up: flags.intersects(ended),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::descriptor;

    #[test]
    fn ready_descriptors_take_turns() {
        let poll = Poll::new().unwrap();
        assert_eq!(poll.next_ready().unwrap(), None);
        let pipes: Vec<_> = (0..3).map(|_| descriptor::pipe().unwrap()).collect();
        for (token, (read, write)) in (0u64..).zip(&pipes) {
            poll.add(read, token, Interest::READ).unwrap();
            nix::unistd::write(write, b"x").unwrap();
        }
        let turns: Vec<u64> = (0..9).map(|_| poll.next_ready().unwrap().unwrap().token).collect();
        assert_eq!(turns, [0, 1, 2, 0, 1, 2, 0, 1, 2]);
    }
}
