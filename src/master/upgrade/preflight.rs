//! A preflight under way: a candidate that runs, and what it says.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use crate::master::source::Source;
use crate::master::upgrade::candidate::Candidate;
use crate::master::upgrade::pin::PinRequest;
use crate::sys::descriptor;
use crate::sys::poll::{Interest, Poll};

/// How often a pipe is read in one turn.
const READS_PER_TURN: usize = 16;

/// A preflight under way.
#[derive(Debug)]
pub struct Preflight {
    pub(super) candidate: Candidate,
    pub(super) report: Stream,
    /// Where it says how it was executed, if that is asked.
    pub(super) pin: Option<PinRequest>,
    pub(super) output: Stream,
}

/// The reading end of a pipe, and what came out of it.
#[derive(Debug)]
pub struct Stream {
    pipe: OwnedFd,
    bytes: Vec<u8>,
    kept_max: usize,
    /// Whether more came than was kept.
    pub(super) is_truncated: bool,
}

impl Stream {
    pub(super) fn new(pipe: OwnedFd, kept_max: usize) -> Stream {
        Stream { pipe, bytes: Vec::new(), kept_max, is_truncated: false }
    }

    /// Reads what is there, keeping the last of it. Answers whether the other end is closed.
    fn drain(&mut self) -> bool {
        let mut chunk = [0; 4096];
        // A writer that never stops is read on in the next turn.
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

    pub(super) fn hear(&mut self, poll: &Poll) {
        for stream in [&mut self.report, &mut self.output] {
            if stream.drain() {
                // A closed pipe is readable for ever.
                let _ = poll.remove(&stream.pipe);
            }
        }
    }

    pub(super) fn forget(&self, poll: &Poll) {
        for stream in [&self.report, &self.output] {
            // It may have been removed when it was closed.
            let _ = poll.remove(&stream.pipe);
        }
    }
}
