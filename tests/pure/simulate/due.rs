//! What is to be done about an event.

use std::collections::BTreeSet;

use einhorn::outcome::Outcome;
use einhorn::protocol::NewsStage;
use einhorn::scalar::Scalar;
use einhorn::state::{ConnectionId, Pid, Signal};

/// What is to be done about an event, the log left out; in a turn also who is told to go and who
/// is started.
#[derive(Debug, Default)]
pub(super) struct Due {
    pub(super) signals: Vec<(Pid, Signal)>,
    /// Last lines; those for one request in their order.
    pub(super) replies: Vec<LastLine>,
    /// Who may be told how something goes on.
    pub(super) open: Vec<Whom>,
    /// What they may be told is being done.
    pub(super) stages: Vec<(Whom, NewsStage)>,
    /// Who must be, having just asked for it.
    pub(super) asker: Option<Whom>,
    /// Whether everyone must be who goes on waiting.
    pub(super) is_told: bool,
    pub(super) closes: Vec<ConnectionId>,
    pub(super) exits: Vec<i32>,
    /// How often a candidate is asked.
    pub(super) preflight_count: usize,
    /// How often a candidate is ended.
    pub(super) kill_count: usize,
    /// How often the state is handed over.
    pub(super) handover_count: usize,
    /// How often the state is handed back to a Ruby Einhorn.
    pub(super) hand_back_count: u32,
    /// Which canaries are looked at by the command of `--on-canary`, with their generations.
    pub(super) checks: Vec<(Pid, u32)>,
    /// Which processes that do so are ended.
    pub(super) check_kills: Vec<Pid>,
    /// Whose ACK took too long.
    pub(super) overrun: BTreeSet<Pid>,
}

/// A request, by what its replies carry.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Whom {
    pub(super) connection: ConnectionId,
    pub(super) id: Option<Scalar>,
    pub(super) wants_events: bool,
}

/// A reply that no other follows.
#[derive(Clone, Debug)]
pub(super) struct LastLine {
    pub(super) whom: Whom,
    /// How it may have ended.
    pub(super) outcomes: &'static [Outcome],
    /// Of somebody who waited: whether it says that what was asked for is done.
    pub(super) is_done: Option<bool>,
    /// The roll-out that it is about.
    pub(super) about: Option<About>,
}

/// What the last line of a roll-out says of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct About {
    pub(super) generation: u32,
    pub(super) failure_count: u32,
    /// The first failures, by pid and index.
    pub(super) failures: Vec<(Option<i32>, u32)>,
}

impl LastLine {
    /// The answer to a question.
    pub(super) fn plain(whom: Whom, outcomes: &'static [Outcome]) -> LastLine {
        LastLine { whom, outcomes, is_done: None, about: None }
    }
}
