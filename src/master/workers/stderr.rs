//! The workers' standard error, with `--capture-stderr`: a pipe for each, of which whole lines are
//! passed on to the log, and the end is kept for the report of a worker that fails.
//!
//! The pipes have a [`Poll`] of their own, which the loop watches as one descriptor: however many
//! workers talk at once, clients and signals have their turn, and while the log's reader is slow
//! one call stops all reading. A worker then waits in its write(2), as it would with the log itself
//! as its standard error, so that nothing is lost and nothing piles up.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use crate::decide::Level;
use crate::master::descriptors::identity;
use crate::master::log::{BACKLOG_MAX, Log};
use crate::master::source::Source;
use crate::schema::CarriedPipe;
use crate::state::{CAPTURED_LINE_MAX, Pid, TAIL_MAX, Verbosity};
use crate::sys::descriptor;
use crate::sys::poll::{Interest, Poll};

/// How much is read of one worker before the next one has its turn.
const CHUNK: usize = 16 * 1024;

/// How often that is done before the loop looks at everything else again: half a megabyte, which
/// takes about a millisecond.
const READS_PER_TURN: usize = 32;

/// How much is read at once of a worker that has ended: what a pipe can hold, `fs.pipe-max-size` of
/// pipe(7). More comes from somebody else, who is heard in turn.
const REMAINDER_MAX: usize = 1024 * 1024;

/// While the log owes more than this to its reader, not even the rest of what a worker said that
/// has ended is read. The other half of what the log keeps is for its own lines.
const LOG_BACKLOG_MAX: usize = BACKLOG_MAX / 2;

/// How many pipes of workers that have ended are heard, or a quarter of the descriptors: of each
/// somebody is left who holds the other end, such as a helper that a worker has started.
const ORPHANS_MAX: usize = 1024;

/// All pipes, by the numbers of their reading ends.
#[derive(Debug)]
pub struct WorkerStderr {
    poll: Poll,
    pipes: BTreeMap<RawFd, Pipe>,
    /// Whose they are, until those are reaped.
    by_worker: BTreeMap<i32, RawFd>,
    /// Those of workers that were reaped, the oldest first.
    orphans: VecDeque<RawFd>,
    orphans_max: usize,
    /// Whether the loop watches them.
    is_watched: bool,
    /// What is read into, kept so that it is cleared once.
    chunk: Box<[u8]>,
}

/// A pipe that was made for a worker.
#[derive(Debug)]
struct Pipe {
    worker: i32,
    reading_end: OwnedFd,
    /// The end of what was read: [`TAIL_MAX`] bytes, and all that was not passed on yet.
    kept: Vec<u8>,
    /// How many bytes of that, at its end, are no whole line yet.
    unsent: usize,
    /// Nobody holds the other end any more, and it is not watched.
    is_at_eof: bool,
}

impl Pipe {
    /// Takes what was read, and passes on what makes whole lines.
    fn push(&mut self, bytes: &[u8], log: &mut Log) {
        let is_newline = |byte: &u8| *byte == b'\n';
        let whole = bytes.iter().rposition(is_newline).map_or(0, |last| last + 1);
        let begun = if whole == 0 { self.unsent } else { 0 };
        let is_long = begun + bytes.len() - whole >= CAPTURED_LINE_MAX;
        let sent = if is_long { bytes.len() } else { whole };
        if sent > 0 {
            log.forward(self.worker, [self.partial_line(), &bytes[..sent]]);
            self.unsent = 0;
        }
        self.unsent += bytes.len() - sent;
        self.keep(bytes);
    }

    /// What is no whole line yet.
    fn partial_line(&self) -> &[u8] {
        &self.kept[self.kept.len() - self.unsent..]
    }

    /// Keeps the end of what was kept and of what was read.
    fn keep(&mut self, bytes: &[u8]) {
        let most = TAIL_MAX.max(self.unsent);
        let bytes = &bytes[bytes.len().saturating_sub(most)..];
        let surplus = (self.kept.len() + bytes.len()).saturating_sub(most);
        self.kept.drain(..surplus);
        // There may be thousands: none takes more than it needs.
        self.kept.reserve_exact(bytes.len());
        self.kept.extend_from_slice(bytes);
        self.kept.shrink_to(TAIL_MAX);
    }

    /// Passes on what is left of it: nobody completes its last line.
    fn finish(&mut self, log: &mut Log) {
        self.is_at_eof = true;
        if self.unsent > 0 {
            log.forward(self.worker, [self.partial_line(), b""]);
            self.unsent = 0;
        }
    }
}

impl WorkerStderr {
    /// None yet; `descriptors_max` is how many descriptors this process may have.
    ///
    /// # Errors
    /// Those of epoll_create1(2).
    pub fn new(descriptors_max: u64) -> io::Result<WorkerStderr> {
        Ok(WorkerStderr::adopt(Poll::new()?, Vec::new(), descriptors_max))
    }

    /// What watches the pipes of the image before this one, before they are taken over.
    ///
    /// # Errors
    /// Those of epoll_create1(2) and epoll_ctl(2).
    pub fn watch_carried(carried: &[CarriedPipe]) -> io::Result<Poll> {
        let poll = Poll::new()?;
        for CarriedPipe { number, .. } in carried {
            poll.add(descriptor::borrow(*number), token(*number), Interest::READ)?;
        }
        Ok(poll)
    }

    /// Takes over the pipes of the image before this one, and what watches them.
    pub fn adopt(poll: Poll, carried: Vec<CarriedPipe>, descriptors_max: u64) -> WorkerStderr {
        let quarter = usize::try_from(descriptors_max / 4).unwrap_or(ORPHANS_MAX);
        let mut worker_stderr = WorkerStderr {
            poll,
            pipes: BTreeMap::new(),
            by_worker: BTreeMap::new(),
            orphans: VecDeque::new(),
            orphans_max: ORPHANS_MAX.min(quarter),
            is_watched: false,
            chunk: vec![0; CHUNK].into(),
        };
        for CarriedPipe { pid, is_orphan, number, identity: _, kept, unsent } in carried {
            let reading_end = descriptor::claim(number);
            let unsent = usize::try_from(unsent).unwrap_or(0);
            let pipe = Pipe { worker: pid.0, reading_end, kept, unsent, is_at_eof: false };
            worker_stderr.pipes.insert(number, pipe);
            match is_orphan {
                true => worker_stderr.orphans.push_back(number),
                false => drop(worker_stderr.by_worker.insert(pid.0, number)),
            }
        }
        worker_stderr
    }

    /// What travels to the next image.
    ///
    /// # Errors
    /// Those of fstat(2).
    pub fn carried(&self) -> io::Result<Vec<CarriedPipe>> {
        let numbers = self.by_worker.values().map(|number| (number, false));
        let numbers = numbers.chain(self.orphans.iter().map(|number| (number, true)));
        let pipes = numbers
            .filter_map(|(number, is_orphan)| Some((*number, is_orphan, self.pipes.get(number)?)));
        let carry = |(number, is_orphan, pipe): (RawFd, bool, &Pipe)| {
            Ok(CarriedPipe {
                pid: Pid(pipe.worker),
                is_orphan,
                number,
                identity: identity(number)?,
                kept: pipe.kept.clone(),
                unsent: u32::try_from(pipe.unsent).unwrap_or(0),
            })
        };
        pipes.map(carry).collect()
    }

    /// A pipe for a worker that is about to be started: our end, watched already, and the worker's.
    ///
    /// # Errors
    /// Those of pipe2(2) and epoll_ctl(2).
    pub fn pipe(&self) -> io::Result<(OwnedFd, OwnedFd)> {
        let (ours, theirs) = descriptor::pipe()?;
        self.poll.add(&ours, token(ours.as_raw_fd()), Interest::READ)?;
        Ok((ours, theirs))
    }

    /// The worker runs that a pipe was made for.
    pub fn add(&mut self, worker: i32, reading_end: OwnedFd) {
        let number = reading_end.as_raw_fd();
        let pipe = Pipe { worker, reading_end, kept: Vec::new(), unsent: 0, is_at_eof: false };
        self.pipes.insert(number, pipe);
        self.by_worker.insert(worker, number);
    }

    /// Has the loop watch the pipes, or not.
    pub fn watch(&mut self, outer: &Poll, is_wanted: bool) {
        if is_wanted != self.is_watched {
            let changed = match is_wanted {
                true => outer.add(&self.poll, Source::Workers, Interest::READ),
                false => outer.remove(&self.poll),
            };
            self.is_watched = is_wanted == changed.is_ok();
        }
    }

    /// Passes on what workers say, of each in its turn, until the log falls behind or others want
    /// to be heard. Answers whether there was anything.
    pub fn drain(&mut self, log: &mut Log) -> bool {
        for count in 0..READS_PER_TURN {
            if log.is_behind() {
                return true;
            }
            let Ok(Some(ready)) = self.poll.next_ready() else { return count > 0 };
            let number = RawFd::try_from(ready.token).unwrap_or(-1);
            if self.read(number, log).is_none() && self.orphans.contains(&number) {
                self.orphans.retain(|orphan| *orphan != number);
                self.pipes.remove(&number);
            }
        }
        true
    }

    /// Reads a chunk. Answers how much that was; `None` at the end.
    fn read(&mut self, number: RawFd, log: &mut Log) -> Option<usize> {
        let pipe = self.pipes.get_mut(&number).filter(|pipe| !pipe.is_at_eof)?;
        match descriptor::read(&pipe.reading_end, &mut self.chunk) {
            Ok(count) if count > 0 => {
                pipe.push(&self.chunk[..count], log);
                return Some(count);
            }
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                return Some(0);
            }
            Ok(_) | Err(_) => pipe.finish(log),
        }
        // A closed pipe is readable for ever.
        let _ = self.poll.remove(&pipe.reading_end);
        None
    }

    /// A worker was reaped. Passes on what it has left in its pipe, and answers the end of all that
    /// it has said. Somebody whom it has started may go on speaking.
    pub fn reaped(&mut self, worker: i32, log: &mut Log) -> Vec<u8> {
        let Some(number) = self.by_worker.remove(&worker) else { return Vec::new() };
        let mut read = 0;
        while read < REMAINDER_MAX && log.backlog_len() <= LOG_BACKLOG_MAX {
            match self.read(number, log) {
                None | Some(0) => break,
                Some(count) => read += count,
            }
        }
        let Some(pipe) = self.pipes.get(&number) else { return Vec::new() };
        let tail = pipe.kept[pipe.kept.len().saturating_sub(TAIL_MAX)..].to_vec();
        match pipe.is_at_eof {
            true => drop(self.pipes.remove(&number)),
            false => self.orphans.push_back(number),
        }
        if self.orphans.len() > self.orphans_max {
            self.drop_oldest_orphan(log);
        }
        tail
    }

    fn drop_oldest_orphan(&mut self, log: &mut Log) {
        let oldest = self.orphans.pop_front();
        let Some(mut pipe) = oldest.and_then(|number| self.pipes.remove(&number)) else { return };
        pipe.finish(log);
        let _ = self.poll.remove(&pipe.reading_end);
        let Pipe { worker, .. } = pipe;
        let why = format!("{} others are heard whose worker has ended", self.orphans_max);
        let message = format!("What worker {worker} has left running is not heard any more: {why}");
        log.write(Verbosity::ERROR, Level::Error, &message);
    }
}

fn token(number: RawFd) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
