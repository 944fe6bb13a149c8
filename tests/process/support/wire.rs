//! A raw connection to the command socket: bytes as they are.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use crate::support::rig::Rig;
use crate::support::wait;

/// A connection.
pub(crate) struct Wire(BufReader<UnixStream>);

impl Wire {
    /// Connects to the master without a name.
    pub(crate) fn connect(rig: &Rig) -> Wire {
        let stream = UnixStream::connect(rig.socket()).unwrap();
        stream.set_read_timeout(Some(wait::PATIENCE)).unwrap();
        Wire(BufReader::new(stream))
    }

    /// The connection itself.
    pub(crate) fn stream(&self) -> &UnixStream {
        self.0.get_ref()
    }

    /// Sends bytes.
    pub(crate) fn send(&self, bytes: impl AsRef<[u8]>) {
        self.stream().write_all(bytes.as_ref()).unwrap();
    }

    /// The next line, without its newline.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        assert_eq!(line.pop(), Some('\n'), "the master closed the connection");
        line
    }

    /// Sends a line and answers the reply.
    pub(crate) fn ask(&mut self, line: &str) -> String {
        self.send(format!("{line}\n"));
        self.line()
    }

    /// Says that nothing more will be sent.
    pub(crate) fn end(&self) {
        self.stream().shutdown(Shutdown::Write).unwrap();
    }

    /// Everything up to the end, which the master makes.
    pub(crate) fn rest(mut self) -> String {
        let mut rest = String::new();
        self.0.read_to_string(&mut rest).unwrap();
        rest
    }

    /// Whether nothing has arrived.
    pub(crate) fn is_silent(&mut self) -> bool {
        self.stream().set_nonblocking(true).unwrap();
        let arrived = self.0.fill_buf().map(<[u8]>::len);
        self.stream().set_nonblocking(false).unwrap();
        arrived.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}
