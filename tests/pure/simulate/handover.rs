//! The way of the state into the next image: as bytes, and back.

use std::collections::BTreeMap;
use std::path::PathBuf;

use einhorn::schema::{
    Carried, CarriedConnection, Handover, Identity, Origin, Role, decode, encode,
};
use einhorn::state::{ConnectionId, Now, State};

/// What the next image decodes; `is_given` says which connections `-g` once gave away.
///
/// # Errors
/// The state cannot be written, or is another one when it is read.
pub(super) fn travel(
    state: &State,
    is_given: impl Fn(ConnectionId) -> bool,
) -> Result<State, String> {
    let handover = handover(state, is_given);
    let bytes = encode(&handover, Some(3), None).map_err(|error| error.to_string())?;
    let read = decode(&bytes).map_err(|error| error.to_string())?.handover.state;
    match read == handover.state {
        true => Ok(read),
        false => Err(format!("{:#?} became {read:#?}", handover.state)),
    }
}

/// What a Ruby Einhorn is given is a document, whatever the state.
///
/// # Errors
/// The state cannot be written, or not be read.
pub(super) fn to_ruby(
    state: &State,
    is_given: impl Fn(ConnectionId) -> bool,
) -> Result<(), String> {
    let written = einhorn::ruby::write(&handover(state, is_given), Now::default())?;
    let read: serde_yaml::Value =
        serde_yaml::from_str(&written).map_err(|error| format!("{error}: {written}"))?;
    let children = read[":state"][":children"].as_mapping().map(|children| children.len());
    match children == Some(state.workers.len()) {
        true => Ok(()),
        false => Err(format!("{children:?} of {} workers: {written}", state.workers.len())),
    }
}

/// The state with a shell around it that has nothing to say.
fn handover(state: &State, is_given: impl Fn(ConnectionId) -> bool) -> Handover {
    let carried = |role, number| Carried { role, number, identity: Identity::default() };
    let ids: Vec<ConnectionId> = state.connections.keys().copied().collect();
    let mut descriptors = vec![carried(Role::CommandSocket, 4), carried(Role::Lock, 5)];
    descriptors.extend(ids.iter().zip(6..).map(|(id, fd)| carried(Role::Connection(*id), fd)));
    let connection = |id: &ConnectionId| CarriedConnection {
        id: *id,
        input: Vec::new(),
        is_discarding: false,
        output: Vec::new(),
        is_given: is_given(*id),
        read_closed: false,
        is_closing: false,
    };
    Handover {
        release: "0.0.1".to_owned(),
        state: state.clone(),
        origin: Origin {
            own_path: PathBuf::from("/usr/bin/einhorn"),
            own_name: "einhorn".into(),
            environment: Vec::new(),
            blocked_signals: 0,
            open_files_soft: 1024,
            open_files_hard: 4096,
            nice: 0,
        },
        descriptors,
        connections: ids.iter().map(connection).collect(),
        next_connection: ConnectionId(ids.last().map_or(1, |last| last.0 + 1)),
        helpers: Vec::new(),
        files: Vec::new(),
        worker_stderr: Vec::new(),
        unlogged: Vec::new(),
        senders: BTreeMap::new(),
    }
}
