//! The workers' standard error, with `--capture-stderr`: a pipe for each worker. Complete lines are
//! forwarded to the log, and the tail is kept for the report of a worker that fails.
//!
//! The pipes have their own [`Poll`], which the loop watches as one descriptor: however many
//! workers write at once, clients and signals get their turn, and while the log's reader is slow,
//! one call stops all reading. A worker then blocks in write(2), as it would with the log itself as
//! its standard error, so that nothing is lost or piles up.

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

/// How many bytes are read of one worker before the next one's turn.
const CHUNK: usize = 16 * 1024;

/// How many such reads are done in one turn of the loop: half a megabyte, about a millisecond.
const READS_PER_TURN: usize = 32;

/// How many bytes are read at once of a worker that has exited: the capacity of a pipe,
/// `fs.pipe-max-size` of pipe(7). Anything beyond comes from another process, and waits its turn.
const REMAINDER_MAX: usize = 1024 * 1024;

/// While the log's backlog is larger than this, not even the remaining output of an exited worker
/// is read. The other half of the backlog is for the master's own lines.
const LOG_BACKLOG_MAX: usize = BACKLOG_MAX / 2;

/// How many pipes of exited workers are kept, or a quarter of the descriptor limit if that is less:
/// each is still held open by another process, such as a helper that the worker started.
const ORPHANS_MAX: usize = 1024;

/// All pipes, by the descriptors of their reading ends.
#[derive(Debug)]
pub struct WorkerStderr {
    poll: Poll,
    pipes: BTreeMap<RawFd, Pipe>,
    /// The pipes of workers not reaped yet, by pid.
    by_worker: BTreeMap<i32, RawFd>,
    /// Pipes of reaped workers, oldest first.
    orphans: VecDeque<RawFd>,
    orphans_max: usize,
    /// Whether the loop's poll watches `poll`.
    is_watched: bool,
    /// Read buffer, kept so that it is zeroed only once.
    chunk: Box<[u8]>,
}

#[derive(Debug)]
struct Pipe {
    worker: i32,
    reading_end: OwnedFd,
    /// The tail of what was read: [`TAIL_MAX`] bytes, and everything not forwarded yet.
    kept: Vec<u8>,
    /// How many bytes at its end are an incomplete line, not forwarded yet.
    unsent: usize,
    /// The other end is closed, and the pipe is not watched any more.
    is_at_eof: bool,
}

impl Pipe {
    /// Adds what was read, and forwards the complete lines.
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

    /// The incomplete last line.
    fn partial_line(&self) -> &[u8] {
        &self.kept[self.kept.len() - self.unsent..]
    }

    /// Appends to the tail and trims it.
    fn keep(&mut self, bytes: &[u8]) {
        let most = TAIL_MAX.max(self.unsent);
        let bytes = &bytes[bytes.len().saturating_sub(most)..];
        let surplus = (self.kept.len() + bytes.len()).saturating_sub(most);
        self.kept.drain(..surplus);
        // There may be thousands of pipes: none allocates more than it needs.
        self.kept.reserve_exact(bytes.len());
        self.kept.extend_from_slice(bytes);
        self.kept.shrink_to(TAIL_MAX);
    }

    /// Forwards the incomplete last line, which will not be completed.
    fn finish(&mut self, log: &mut Log) {
        self.is_at_eof = true;
        if self.unsent > 0 {
            log.forward(self.worker, [self.partial_line(), b""]);
            self.unsent = 0;
        }
    }
}

impl WorkerStderr {
    /// No pipes yet; `descriptors_max` is this process's descriptor limit.
    ///
    /// # Errors
    /// Those of epoll_create1(2).
    pub fn new(descriptors_max: u64) -> io::Result<WorkerStderr> {
        Ok(WorkerStderr::adopt(Poll::new()?, Vec::new(), descriptors_max))
    }

    /// A poll of the previous image's pipes, before they are taken over.
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

    /// Takes over the previous image's pipes, and the poll that watches them.
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

    /// What is handed over to the next image.
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

    /// Creates a pipe for a worker about to be started: our end, watched already, and the worker's.
    ///
    /// # Errors
    /// Those of pipe2(2) and epoll_ctl(2).
    pub fn pipe(&self) -> io::Result<(OwnedFd, OwnedFd)> {
        let (ours, theirs) = descriptor::pipe()?;
        self.poll.add(&ours, token(ours.as_raw_fd()), Interest::READ)?;
        Ok((ours, theirs))
    }

    /// Adds the pipe of a worker that was started.
    pub fn add(&mut self, worker: i32, reading_end: OwnedFd) {
        let number = reading_end.as_raw_fd();
        let pipe = Pipe { worker, reading_end, kept: Vec::new(), unsent: 0, is_at_eof: false };
        self.pipes.insert(number, pipe);
        self.by_worker.insert(worker, number);
    }

    /// Makes the loop's poll watch the pipes, or stop watching them.
    pub fn watch(&mut self, outer: &Poll, is_wanted: bool) {
        if is_wanted != self.is_watched {
            let changed = match is_wanted {
                true => outer.add(&self.poll, Source::Workers, Interest::READ),
                false => outer.remove(&self.poll),
            };
            self.is_watched = is_wanted == changed.is_ok();
        }
    }

    /// Reads the pipes round-robin and forwards complete lines, until the log falls behind or the
    /// turn's limit is reached. Returns whether anything was read or may be left.
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

    /// Reads a chunk. Returns its size; `None` at end of file.
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
        // A closed pipe stays readable for ever.
        let _ = self.poll.remove(&pipe.reading_end);
        None
    }

    /// Forwards the remaining output of a worker that was reaped, and returns the tail of all its
    /// output. Processes that it started may keep writing to the pipe.
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
