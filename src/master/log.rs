//! The log: one line a message, and never a reason to wait or to fail (behaviour.md section 10).

use std::io::{self, ErrorKind};
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixDatagram;

use crate::decide::Level;
use crate::state::Verbosity;
use crate::sys::log_output::LogOutput;
use crate::sys::poll::{Interest, Poll};

/// How much is kept while nobody reads; later lines are dropped and counted. Enough for the
/// messages of a whole fleet's restart.
const BACKLOG_MAX: usize = 256 * 1024;

/// Where the system's log listens; see syslog(3).
const SYSLOG_SOCKET: &str = "/dev/log";

/// `LOG_DAEMON`, shifted as in syslog(3).
const SYSLOG_FACILITY: u8 = 3 << 3;

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
    pub fn to_syslog(master_pid: i32) -> Result<Log, String> {
        let connect = || -> io::Result<UnixDatagram> {
            let socket = unconnected()?;
            socket.connect(SYSLOG_SOCKET)?;
            Ok(socket)
        };
        let socket = connect().map_err(|error| {
            format!("--syslog: nothing takes messages at {SYSLOG_SOCKET}: {error}")
        })?;
        Ok(Log::new(Sink::Syslog(socket), master_pid))
    }

    /// Logs to the system's log, as soon as it is there: a master that goes on does not depend on
    /// it.
    ///
    /// # Errors
    /// Those of socket(2).
    pub fn to_syslog_once_there(master_pid: i32) -> io::Result<Log> {
        let socket = unconnected()?;
        // Each line that cannot be sent tries again.
        let _ = socket.connect(SYSLOG_SOCKET);
        Ok(Log::new(Sink::Syslog(socket), master_pid))
    }

    fn new(sink: Sink, master_pid: i32) -> Log {
        Log { sink, master_pid, backlog: Vec::new(), dropped_count: 0, is_watched: false }
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
                    Level::Info => 6,
                    Level::Error => 3,
                };
                let priority = SYSLOG_FACILITY | severity;
                let line = format!("<{priority}>einhorn[{}]: {message}", self.master_pid);
                // A system log that is full or restarting loses the line, as syslog(3) may.
                if socket.send(line.as_bytes()).is_err() {
                    let _ = socket.connect(SYSLOG_SOCKET);
                }
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
            let pid = self.master_pid;
            self.queue(&format!(
                "[MASTER {pid}] ERROR: {count} lines of log were dropped: nobody read them\n"
            ));
            self.drain();
        }
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

    /// Waits for room only while there is something to write: an output whose reader is gone is
    /// ready for ever.
    pub fn watch(&mut self, poll: &Poll, token: u64) {
        let is_behind = self.is_behind();
        if is_behind == self.is_watched {
            return;
        }
        let Some(output) = self.descriptor() else { return };
        let watched = match is_behind {
            true => poll.add(output, token, Interest { read: false, write: true }),
            false => poll.remove(output),
        };
        // What cannot be watched, such as /dev/null, never falls behind.
        self.is_watched = is_behind && watched.is_ok();
    }

    /// What to wait on for room, where waiting makes sense.
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match &self.sink {
            Sink::StandardError(output) => output.descriptor(),
            Sink::Syslog(_) => None,
        }
    }
}

fn unconnected() -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}
