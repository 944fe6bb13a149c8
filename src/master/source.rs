//! Event sources of the loop, as tokens of [`crate::sys::poll::Poll`].

use crate::state::ConnectionId;

/// What a ready descriptor belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Readable when a signal has arrived.
    Signals,
    /// Readable when a client connects.
    CommandSocket,
    /// Writable when the log's output takes more.
    Log,
    /// The report or output of a candidate.
    Candidate,
    /// The standard error of workers.
    Workers,
    /// A connection of the command socket.
    Connection(ConnectionId),
}

/// The first id of a connection; smaller tokens are the sources of which there is only one.
pub const FIRST_CONNECTION: ConnectionId = ConnectionId(16);

impl Source {
    /// The source that a token stands for; `None` for an unused token.
    pub fn of(token: u64) -> Option<Source> {
        match token {
            0 => Some(Source::Signals),
            1 => Some(Source::CommandSocket),
            2 => Some(Source::Log),
            3 => Some(Source::Candidate),
            4 => Some(Source::Workers),
            id => {
                Some(ConnectionId(id)).filter(|id| *id >= FIRST_CONNECTION).map(Source::Connection)
            }
        }
    }
}

impl From<Source> for u64 {
    fn from(source: Source) -> u64 {
        match source {
            Source::Signals => 0,
            Source::CommandSocket => 1,
            Source::Log => 2,
            Source::Candidate => 3,
            Source::Workers => 4,
            Source::Connection(id) => id.0,
        }
    }
}
