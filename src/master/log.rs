//! The log: one line a message, and never a reason to wait or to fail (behaviour.md section 10).

use std::io::{self, ErrorKind};
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::decide::Level;
use crate::master::source::Source;
use crate::state::Verbosity;
use crate::sys::log_output::LogOutput;
use crate::sys::poll::{Interest, Poll};
use crate::sys::signal::Mask;

/// How much is kept while nobody reads; later lines are dropped and counted. Enough for the
/// messages of a whole fleet's restart.
pub const BACKLOG_MAX: usize = 256 * 1024;

/// Where the system's log listens; see syslog(3).
const SYSLOG_SOCKET: &str = "/dev/log";

/// `LOG_DAEMON`, shifted as in syslog(3).
const SYSLOG_FACILITY: u8 = 3 << 3;

/// `LOG_INFO` of syslog(3).
const INFORMATIONAL: u8 = 6;

/// The master's log.
#[derive(Debug)]
pub struct Log {
    sink: Sink,
    master_pid: i32,
    /// What has been written and not been taken yet.
    backlog: Vec<u8>,
    dropped_count: u64,
    /// Whether room for it is waited for.
    is_watched: bool,
}

#[derive(Debug)]
enum Sink {
    StandardError(LogOutput),
    Syslog(UnixDatagram),
}

impl Log {
    /// Logs to standard error.
    pub fn to_standard_error(master_pid: i32) -> Log {
        Log::new(Sink::StandardError(LogOutput::standard_error()), master_pid)
    }

    /// Logs to the system's log.
    ///
    /// # Errors
    /// Nothing listens at `/dev/log`.
    pub fn to_syslog(master_pid: i32) -> Result<Log> {
        let connect = || -> io::Result<UnixDatagram> {
            let socket = unconnected()?;
            socket.connect(SYSLOG_SOCKET)?;
            Ok(socket)
        };
        let socket = connect()
            .with_context(|| format!("--syslog: nothing takes messages at {SYSLOG_SOCKET}"))?;
        Ok(Log::new(Sink::Syslog(socket), master_pid))
    }

    /// Logs to the system's log, as soon as it is there: a master that goes on does not depend on
    /// it.
    ///
    /// # Errors
    /// Those of socket(2).
    pub fn to_syslog_when_available(master_pid: i32) -> io::Result<Log> {
        let socket = unconnected()?;
        // Each line that cannot be sent tries again.
        let _ = socket.connect(SYSLOG_SOCKET);
        Ok(Log::new(Sink::Syslog(socket), master_pid))
    }

    fn new(sink: Sink, master_pid: i32) -> Log {
        Log { sink, master_pid, backlog: Vec::new(), dropped_count: 0, is_watched: false }
    }

    /// Goes on with what the image before this one owed.
    pub fn with_backlog(mut self, unlogged: Vec<u8>) -> Log {
        if let Sink::StandardError(_) = self.sink {
            self.backlog = unlogged;
        }
        self
    }

    /// What the next image goes on with.
    pub fn unlogged(&self) -> Vec<u8> {
        let mut unlogged = self.backlog.clone();
        if self.dropped_count > 0 {
            unlogged.extend_from_slice(self.dropped_notice(self.dropped_count).as_bytes());
        }
        unlogged
    }

    /// Writes a line, if it is important enough.
    pub fn write(&mut self, verbosity: Verbosity, level: Level, message: &str) {
        let threshold = match verbosity {
            Verbosity::DEBUG => Level::Debug,
            Verbosity::INFO => Level::Info,
            _ => Level::Error,
        };
        if level < threshold {
            return;
        }
        let message = message.trim_end().replace('\n', "\\n");
        match &self.sink {
            Sink::Syslog(socket) => {
                let severity = match level {
                    Level::Debug => 7,
                    Level::Info => INFORMATIONAL,
                    Level::Error => 3,
                };
                send(socket, severity, self.master_pid, &message);
            }
            Sink::StandardError(_) => {
                let name = match level {
                    Level::Debug => "DEBUG",
                    Level::Info => "INFO",
                    Level::Error => "ERROR",
                };
                self.queue(&format!("[MASTER {}] {name}: {message}\n", self.master_pid));
                self.flush();
            }
        }
    }

    /// Passes on whole lines of a worker as they are, in two parts; a newline is added where there
    /// is none. However many they are, none is dropped: whoever calls this waits while the log
    /// [is behind](Log::is_behind).
    pub fn forward(&mut self, worker: i32, parts: [&[u8]; 2]) {
        match &self.sink {
            Sink::Syslog(socket) => {
                let lines = parts.concat();
                let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
                for line in lines.map(String::from_utf8_lossy) {
                    let message = format!("worker {worker}: {line}");
                    send(socket, INFORMATIONAL, self.master_pid, &message);
                }
            }
            Sink::StandardError(_) => {
                parts.iter().for_each(|part| self.backlog.extend_from_slice(part));
                if self.backlog.last() != Some(&b'\n') {
                    self.backlog.push(b'\n');
                }
                self.flush();
            }
        }
    }

    fn queue(&mut self, line: &str) {
        if self.backlog.len() + line.len() > BACKLOG_MAX {
            self.dropped_count += 1;
            return;
        }
        self.backlog.extend_from_slice(line.as_bytes());
    }

    /// Writes as much of what waits as is taken now.
    pub fn flush(&mut self) {
        self.drain();
        if self.backlog.is_empty() && self.dropped_count > 0 {
            let count = std::mem::take(&mut self.dropped_count);
            self.queue(&self.dropped_notice(count));
            self.drain();
        }
    }

    fn dropped_notice(&self, count: u64) -> String {
        let pid = self.master_pid;
        format!("[MASTER {pid}] ERROR: {count} log lines were dropped: nothing read them\n")
    }

    fn drain(&mut self) {
        let Sink::StandardError(output) = &self.sink else { return };
        while !self.backlog.is_empty() {
            match output.write(&self.backlog) {
                Ok(count) => {
                    self.backlog.drain(..count);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // Nobody reads any more, or the disk is full: the lines are lost, nothing else.
                Err(_) => self.backlog.clear(),
            }
        }
    }

    /// Whether something waits to be taken.
    pub fn is_behind(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// How many bytes wait to be taken.
    pub fn backlog_len(&self) -> usize {
        self.backlog.len()
    }

    /// Waits for room only while there is something to write: an output whose reader is gone is
    /// ready for ever.
    pub fn watch(&mut self, poll: &Poll) {
        let is_behind = self.is_behind();
        if is_behind == self.is_watched {
            return;
        }
        let Some(output) = self.descriptor() else { return };
        let watched = match is_behind {
            true => poll.add(output, Source::Log, Interest::WRITE),
            false => poll.remove(output),
        };
        // What cannot be watched, such as /dev/null, never falls behind.
        self.is_watched = is_behind && watched.is_ok();
    }

    /// Waits for room, for so long at most, and writes what fits.
    ///
    /// # Errors
    /// Those of epoll_create1(2), epoll_ctl(2) and epoll_pwait(2).
    pub fn wait_until_writable(&mut self, most: Duration, mask: &Mask) -> io::Result<()> {
        if let Some(output) = self.descriptor() {
            let poll = Poll::new()?;
            poll.add(output, Source::Log, Interest::WRITE)?;
            poll.wait(Some(most), mask)?;
        }
        self.flush();
        Ok(())
    }

    /// What to wait on for room, where waiting makes sense.
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match &self.sink {
            Sink::StandardError(output) => output.descriptor(),
            Sink::Syslog(_) => None,
        }
    }
}

/// Sends a line to the system's log. One that is full or restarting loses it, as syslog(3) may.
fn send(socket: &UnixDatagram, severity: u8, master_pid: i32, message: &str) {
    let priority = SYSLOG_FACILITY | severity;
    let line = format!("<{priority}>einhorn[{master_pid}]: {message}");
    if socket.send(line.as_bytes()).is_err() {
        let _ = socket.connect(SYSLOG_SOCKET);
    }
}

fn unconnected() -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}
