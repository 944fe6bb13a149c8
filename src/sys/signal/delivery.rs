//! Delivery of the handled signals, as a descriptor to read from.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::WithRawSiginfo;

use crate::sys::signal::mask::HANDLED;

/// A signal that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Its number.
    pub number: i32,
    /// The sender's pid and real user id; `None` if the kernel sent it.
    pub sender: Option<(i32, u32)>,
}

/// The handled signals, as a descriptor that the loop can watch.
#[derive(Debug)]
pub struct Signals(SignalDelivery<UnixStream, WithRawSiginfo>);

impl Signals {
    /// Installs handlers for the handled set, which [`crate::sys::signal::set_up`] must have
    /// blocked.
    ///
    /// # Errors
    /// Those of socketpair(2) and sigaction(2).
    pub fn new() -> io::Result<Signals> {
        let (read, write) = UnixStream::pair()?;
        read.set_nonblocking(true)?;
        write.set_nonblocking(true)?;
        let numbers = HANDLED.map(|signal| signal as i32);
        Ok(Signals(SignalDelivery::with_pipe(read, write, WithRawSiginfo, numbers)?))
    }

    /// Readable when a signal has arrived.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.get_read().as_fd()
    }

    /// Takes the signals that have arrived.
    pub fn received(&mut self) -> Vec<Received> {
        self.0.pending().map(|info| received(&info)).collect()
    }
}

fn received(info: &libc::siginfo_t) -> Received {
    // `si_code` is 0 or below for kill(2), sigqueue(3) and tgkill(2); see sigaction(2).
    let sender = (info.si_code <= 0).then(|| {
        // SAFETY: the kernel fills in si_pid and si_uid of signals that a process sent.
        unsafe { (info.si_pid(), info.si_uid()) }
    });
    Received { number: info.si_signo, sender }
}
