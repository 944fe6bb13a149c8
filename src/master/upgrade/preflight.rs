//! A preflight in progress: the running candidate, and what it writes.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use crate::master::source::Source;
use crate::master::upgrade::candidate::Candidate;
use crate::master::upgrade::pin::PinRequest;
use crate::sys::descriptor;
use crate::sys::poll::{Interest, Poll};

/// How many reads of one pipe are done in one turn.
const READS_PER_TURN: usize = 16;

/// A preflight in progress.
#[derive(Debug)]
pub struct Preflight {
    pub(super) candidate: Candidate,
    pub(super) report: Stream,
    /// The request for a pin, in pinned mode.
    pub(super) pin: Option<PinRequest>,
    pub(super) output: Stream,
}

/// The reading end of a pipe, and the data read from it.
#[derive(Debug)]
pub struct Stream {
    pipe: OwnedFd,
    bytes: Vec<u8>,
    kept_max: usize,
    /// Whether earlier data was dropped.
    pub(super) is_truncated: bool,
}

impl Stream {
    pub(super) fn new(pipe: OwnedFd, kept_max: usize) -> Stream {
        Stream { pipe, bytes: Vec::new(), kept_max, is_truncated: false }
    }

    /// Reads what is available, keeping the last `kept_max` bytes. Returns whether it ended.
    fn drain(&mut self) -> bool {
        let mut chunk = [0; 4096];
        // A writer that never stops is continued in the next turn.
        for _ in 0..READS_PER_TURN {
            match descriptor::read(self.pipe.as_fd(), &mut chunk) {
                Ok(0) => return true,
                Ok(count) => {
                    self.bytes.extend_from_slice(&chunk[..count]);
                    let surplus = self.bytes.len().saturating_sub(self.kept_max);
                    self.bytes.drain(..surplus);
                    self.is_truncated |= surplus > 0;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
            }
        }
        false
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

impl Preflight {
    pub(super) fn watch(&self, poll: &Poll) -> io::Result<()> {
        poll.add(&self.report.pipe, Source::Candidate, Interest::READ)?;
        poll.add(&self.output.pipe, Source::Candidate, Interest::READ)
    }

    pub(super) fn drain(&mut self, poll: &Poll) {
        for stream in [&mut self.report, &mut self.output] {
            if stream.drain() {
                // A closed pipe stays readable for ever.
                let _ = poll.remove(&stream.pipe);
            }
        }
    }

    pub(super) fn unwatch(&self, poll: &Poll) {
        for stream in [&self.report, &self.output] {
            // A closed pipe was removed already.
            let _ = poll.remove(&stream.pipe);
        }
    }
}
