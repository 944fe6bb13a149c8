//! Whom the loop's [`crate::sys::poll::Poll`] says to be ready.

use crate::state::ConnectionId;

/// Whom the loop hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A signal has arrived.
    Signals,
    /// A client connects.
    CommandSocket,
    /// The log takes more.
    Log,
    /// A candidate says something.
    Candidate,
    /// Workers have something to say.
    Workers,
    /// A connection of the command socket.
    Connection(ConnectionId),
}

/// The connections are numbered from here; below are the sources of which there is one each.
pub const FIRST_CONNECTION: ConnectionId = ConnectionId(16);

impl Source {
    /// Who was added to the poll with a token; `None` with a token of nobody.
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
