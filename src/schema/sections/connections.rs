//! The connections to the command socket, with their partial lines and unsent replies.

use std::collections::BTreeMap;

use crate::schema::codec::Bytes;
use crate::schema::frozen::frozen;
use crate::schema::handover::CarriedConnection;
use crate::schema::section::section;
use crate::state::{self, ConnectionId, Pid};

section! {
    struct Connections: Base "connections" {
        next: ConnectionId = next_connection,
        known: BTreeMap<ConnectionId, Connection> = state.connections,
        buffers: Vec<Buffers> = connections,
    }
}

frozen! {
    struct Connection of state::Connection {
        given_to: Option<Pid>,
        ..state::Connection::default()
    }

    struct Buffers of CarriedConnection {
        id: ConnectionId,
        input: Bytes,
        is_discarding: bool,
        output: Bytes,
        is_given: bool,
        read_closed: bool,
        is_closing: bool,
        ..CarriedConnection::default()
    }
}
