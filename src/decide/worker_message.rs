//! `worker:ack` and `worker:ping`: for which worker one counts, and why one does not
//! (docs/worker-contract.md).

use crate::decide::action::Action;
use crate::decide::event::{Authority, Membership};
use crate::decide::turn::Turn;
use crate::decide::workers;
use crate::protocol::Request;
use crate::scalar::Scalar;
use crate::state::{AckMode, ConnectionId, Pid, Ping};

/// Why a worker may name a process that is not there, or is another.
const NAMESPACE: &str =
    " (in a pid namespace of its own, a worker does not know the pid that it has outside)";

/// Where a message comes from.
#[derive(Clone, Copy)]
pub(super) struct From {
    pub(super) connection: ConnectionId,
    pub(super) authority: Authority,
}

/// What a message is, as the log says it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Message {
    Ack,
    Ping,
}

impl Message {
    /// Before the pid.
    fn ignoring(self) -> &'static str {
        match self {
            Message::Ack => "Ignoring an ACK for",
            Message::Ping => "Ignoring a ping of",
        }
    }
}

/// A worker said something. There is no reply, and the connection is closed in case the worker
/// forgets to, unless `-g` gave it.
pub(super) fn received(
    turn: &mut Turn,
    from: From,
    request: &Request,
    membership: Option<Membership>,
) {
    let command = request.command.as_deref().unwrap_or_default();
    let message = if command == "worker:ack" { Message::Ack } else { Message::Ping };
    let ack_is_wanted = turn.state.config.ack_mode == AckMode::Manual;
    match request.named_pid() {
        None => {
            let given = request.pid.as_ref().map_or("no pid".to_owned(), Scalar::to_string);
            turn.error(format!("Ignoring a {command} without a valid pid ({given})"));
        }
        Some(pid) if message == Message::Ack && !ack_is_wanted => {
            turn.error(format!("Ignoring an ACK for {pid}: ACKs are given by timer here"));
        }
        Some(pid) => match worker_of(turn, from, Pid(pid), membership) {
            Err(why) => turn.error(format!("{} {pid}{why}", message.ignoring())),
            Ok(worker) => count(turn, message, Pid(pid), worker, request),
        },
    }
    let given = turn.state.connections.get(&from.connection).is_some_and(|c| c.given_to.is_some());
    if !given && !request.is_misspelt {
        turn.actions.push(Action::Close { connection: from.connection });
    }
}

/// For which worker a message counts that names a process, or why for none, as the log goes on.
fn worker_of(
    turn: &Turn,
    from: From,
    named: Pid,
    membership: Option<Membership>,
) -> Result<Pid, String> {
    let is_worker = |pid: Pid| turn.state.workers.contains_key(&pid);
    let why = match membership {
        _ if is_worker(named) => return own_worker(turn, from, named),
        Some(Membership::InGroup(worker)) if is_worker(worker) => {
            return own_worker(turn, from, worker);
        }
        Some(Membership::Descendant(worker)) => format!(
            ": it descends from worker {worker}, but is not in its process group (setsid, \
             setpgid and shells with job control leave it)"
        ),
        Some(Membership::NoSuchProcess) => {
            format!(": there is no such process any more{NAMESPACE}")
        }
        Some(Membership::InGroup(_) | Membership::Unrelated) => {
            format!(": it is in no worker's process group{NAMESPACE}")
        }
        None => String::new(),
    };
    Err(format!(", which is no worker of mine{why}"))
}

/// The worker for which a message is meant, or why its senders may not speak for that.
fn own_worker(turn: &Turn, from: From, worker: Pid) -> Result<Pid, String> {
    let Authority::OwnWorker(sender) = from.authority else { return Ok(worker) };
    let own = turn.state.connections.get(&from.connection).and_then(|c| c.given_to);
    match own {
        Some(own) if own == worker => Ok(worker),
        Some(own) => Err(format!(
            ", sent by {sender}: over the connection of worker {own}, only the master's user and \
             root may speak for another"
        )),
        None => Err(format!(
            ", sent by {sender}: over a connection whose worker is gone, only the master's user \
             and root may speak for another"
        )),
    }
}

/// Does what a message says.
fn count(turn: &mut Turn, message: Message, named: Pid, pid: Pid, request: &Request) {
    if named != pid {
        let what = if message == Message::Ack { "ACK" } else { "ping" };
        turn.debug(format!("The {what} of {named} counts for worker {pid}, in whose group it is"));
    }
    let at = turn.now.realtime;
    let Some(worker) = turn.state.workers.get_mut(&pid) else { return };
    match message {
        Message::Ping => worker.ping = Some(Ping { at, request_id: request.request_id.clone() }),
        Message::Ack if worker.is_acked() => {
            turn.error(format!("Ignoring an ACK for {pid}, which was ACKed before"));
        }
        Message::Ack => workers::acknowledge(turn, pid),
    }
}
