//! What is to be done about an event.

use einhorn::scalar::Scalar;
use einhorn::state::{ConnectionId, Pid, Signal};

/// What is to be done about an event, the log left out; in a turn also who is told to go and who
/// is started.
#[derive(Debug, Default)]
pub(super) struct Due {
    pub(super) signals: Vec<(Pid, Signal)>,
    /// Last lines, in their order.
    pub(super) replies: Vec<LastLine>,
    /// Who may be told how an upgrade goes on.
    pub(super) open: Vec<(ConnectionId, Option<Scalar>)>,
    /// Who must be, having just asked for one.
    pub(super) asker: Option<(ConnectionId, Option<Scalar>)>,
    /// Whether everyone must be who goes on waiting.
    pub(super) is_told: bool,
    pub(super) closes: Vec<ConnectionId>,
    pub(super) exits: Vec<i32>,
    /// In which schema versions candidates are asked.
    pub(super) preflights: Vec<u16>,
    /// How often a candidate is ended.
    pub(super) kill_count: usize,
    /// In which schema versions the state is handed over.
    pub(super) handovers: Vec<u16>,
    /// How often the state is handed back to a Ruby Einhorn.
    pub(super) hand_back_count: u32,
}

/// A reply that no other follows.
#[derive(Debug)]
pub(super) struct LastLine {
    pub(super) connection: ConnectionId,
    pub(super) id: Option<Scalar>,
    /// Of an upgrade: whether it says that what was asked for is done.
    pub(super) is_done: Option<bool>,
}

impl LastLine {
    /// The answer to a question.
    pub(super) fn plain(connection: ConnectionId, id: Option<Scalar>) -> LastLine {
        LastLine { connection, id, is_done: None }
    }

    /// An upgrade is done.
    pub(super) fn done(connection: ConnectionId, id: Option<Scalar>) -> LastLine {
        LastLine { connection, id, is_done: Some(true) }
    }

    /// An upgrade is not done.
    pub(super) fn failed(connection: ConnectionId, id: Option<Scalar>) -> LastLine {
        LastLine { connection, id, is_done: Some(false) }
    }
}
