//! The log: one line per message; it never blocks or fails the master (behaviour.md section 10).

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

/// How many bytes are buffered while the reader is stalled; later lines are dropped and counted.
/// Enough for the messages of a whole fleet's restart.
pub const BACKLOG_MAX: usize = 256 * 1024;

/// The socket of the system's log; see syslog(3).
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
    /// Lines not written to the output yet.
    backlog: Vec<u8>,
    dropped_count: u64,
    /// Whether the loop's poll watches the output.
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
    /// No process listens at `/dev/log`.
    pub fn to_syslog(master_pid: i32) -> Result<Log> {
        let socket = unconnected();
        let socket = socket.and_then(|socket| socket.connect(SYSLOG_SOCKET).map(|()| socket));
        let socket = socket
            .with_context(|| format!("--syslog: nothing takes messages at {SYSLOG_SOCKET}"))?;
        Ok(Log::new(Sink::Syslog(socket), master_pid))
    }

    /// Logs to the system's log once it is available: a running master does not depend on it.
    ///
    /// # Errors
    /// Those of socket(2).
    pub fn to_syslog_when_available(master_pid: i32) -> io::Result<Log> {
        let socket = unconnected()?;
        // Each line that cannot be sent reconnects.
        let _ = socket.connect(SYSLOG_SOCKET);
        Ok(Log::new(Sink::Syslog(socket), master_pid))
    }

    fn new(sink: Sink, master_pid: i32) -> Log {
        Log { sink, master_pid, backlog: Vec::new(), dropped_count: 0, is_watched: false }
    }

    /// Starts with the backlog of the previous image.
    pub fn with_backlog(mut self, unlogged: Vec<u8>) -> Log {
        if let Sink::StandardError(_) = self.sink {
            self.backlog = unlogged;
        }
        self
    }

    /// The backlog for the next image.
    pub fn unlogged(&self) -> Vec<u8> {
        let mut unlogged = self.backlog.clone();
        if self.dropped_count > 0 {
            unlogged.extend_from_slice(self.dropped_notice(self.dropped_count).as_bytes());
        }
        unlogged
    }

    /// Logs a message, if the verbosity includes its level.
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

    /// Forwards complete lines of a worker unchanged, in two parts; a missing final newline is
    /// added. None is dropped, however many there are: the caller must wait while the log [is
    /// behind](Log::is_behind).
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

    /// Writes as much of the backlog as the output takes now.
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
                // The reader is gone, or the disk is full: the lines are lost.
                Err(_) => self.backlog.clear(),
            }
        }
    }

    /// Whether there is a backlog.
    pub fn is_behind(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// The size of the backlog in bytes.
    pub fn backlog_len(&self) -> usize {
        self.backlog.len()
    }

    /// Watches the output only while there is a backlog: an output whose reader is gone is always
    /// ready.
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
        // An output that cannot be watched, such as /dev/null, never falls behind.
        self.is_watched = is_behind && watched.is_ok();
    }

    /// Waits until the output is writable, at most for `timeout`, and writes what fits.
    ///
    /// # Errors
    /// Those of epoll_create1(2), epoll_ctl(2) and epoll_pwait(2).
    pub fn wait_until_writable(&mut self, timeout: Duration, mask: &Mask) -> io::Result<()> {
        if let Some(output) = self.descriptor() {
            let poll = Poll::new()?;
            poll.add(output, Source::Log, Interest::WRITE)?;
            poll.wait(Some(timeout), mask)?;
        }
        self.flush();
        Ok(())
    }

    /// The descriptor to watch, if the output can fall behind.
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match &self.sink {
            Sink::StandardError(output) => output.descriptor(),
            Sink::Syslog(_) => None,
        }
    }
}

/// Sends a line to the system's log. It is lost if the log's queue is full or the log restarts, as
/// with syslog(3).
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
