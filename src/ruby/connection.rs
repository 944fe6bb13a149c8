//! A Ruby master's `:persistent_descriptors:`, which it keeps across an exec besides its state.

use std::time::Duration;

use crate::ruby::field::{Field, Notes};
use crate::scalar::Scalar;
use crate::state::Realtime;

/// A client of the command socket.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Connection {
    pub descriptor: i32,
    pub input: Vec<u8>,
    pub output: Vec<u8>,
    /// What the client waits for, with the request ids; `None` for an id of an unsupported type.
    pub subscriptions: Vec<(Subscription, Option<Scalar>)>,
    /// The path of its field, for messages.
    pub place: String,
}

/// What a client waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subscription {
    Upgrade,
    Reload,
}

/// The timer after which a worker counts as up.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct AckTimer {
    pub pid: i32,
    pub time: Duration,
    pub start: Realtime,
}

/// All persistent descriptors and timers.
pub(super) struct Descriptors {
    pub command_server: i32,
    pub connections: Vec<Connection>,
    pub ack_timers: Vec<AckTimer>,
}

/// Reads the list.
pub(super) fn read_all(list: &Field<'_>, notes: &mut Notes) -> Result<Descriptors, String> {
    let mut command_server = None;
    let mut connections = Vec::new();
    let mut ack_timers = Vec::new();
    for item in list.items()? {
        let class = item.need("class")?;
        match class.name()?.rsplit("::").next().unwrap_or_default() {
            "CommandServer" => {
                let number = item.need("server")?.descriptor()?;
                if command_server.replace(number).is_some() {
                    return Err(list.wrong("has two command servers"));
                }
            }
            "Connection" => connections.push(connection(&item, notes)?),
            "ACKTimer" => ack_timers.push(AckTimer {
                pid: item.need("pid")?.whole(1, i32::MAX)?,
                time: item.need("time")?.seconds(notes)?,
                start: item.need("start")?.time()?,
            }),
            other => {
                notes.push(format!("Left out, being unknown here: a {other} ({})", item.path()))
            }
        }
    }
    let missing = || list.wrong("has no command server, or is cut short");
    Ok(Descriptors { command_server: command_server.ok_or_else(missing)?, connections, ack_timers })
}

fn connection(item: &Field<'_>, notes: &mut Notes) -> Result<Connection, String> {
    let number = item.need("socket")?;
    let buffer = |name| item.optional(name, |field| field.bytes().map(<[u8]>::to_vec));
    let mut subscriptions = Vec::new();
    if let Some(tags) = item.get("subscriptions")? {
        for (tag, id) in tags.pairs()? {
            let what = match tag.name()? {
                "upgrade" => Subscription::Upgrade,
                "reload" => Subscription::Reload,
                other => {
                    notes.push(format!("Left out: a client's subscription to {other:?}"));
                    continue;
                }
            };
            // Old releases also kept subscriptions without an id.
            if !id.is_nil() {
                subscriptions.push((what, id.request_id(notes)));
            }
        }
    }
    Ok(Connection {
        descriptor: number.descriptor()?,
        input: buffer("read_buffer")?.unwrap_or_default(),
        output: buffer("write_buffer")?.unwrap_or_default(),
        subscriptions,
        place: number.path().to_owned(),
    })
}
