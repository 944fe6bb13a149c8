//! The way of the state into the next image: as bytes, and back.

use std::collections::BTreeMap;
use std::path::PathBuf;

use einhorn::schema::{
    Carried, CarriedConnection, Handover, Identity, Origin, Role, decode, encode,
};
use einhorn::state::{ConnectionId, Monotonic, Now, Reexec, Rollout, State, WaitsFor};

/// What the next image decodes, of which an older schema version may say less; `is_given` says
/// which connections `-g` once gave away.
///
/// # Errors
/// The state cannot be written, or is another one when it is read.
pub(super) fn travel(
    state: &State,
    schema: u16,
    is_given: impl Fn(ConnectionId) -> bool,
) -> Result<State, String> {
    let handover = handover(state, is_given);
    let bytes = encode(&handover, schema, Some(3), None).map_err(|error| error.to_string())?;
    let state = decode(&bytes).map_err(|error| error.to_string())?.state;
    let expected = if schema == 1 { first(handover.state) } else { handover.state };
    match state == expected {
        true => Ok(state),
        false => Err(format!("{expected:#?} became {state:#?}")),
    }
}

/// That a state is not written in a schema version that has no words for it.
///
/// # Errors
/// It is.
pub(super) fn refused(
    state: &State,
    schema: u16,
    is_given: impl Fn(ConnectionId) -> bool,
) -> Result<(), String> {
    match encode(&handover(state, is_given), schema, Some(3), None) {
        Err(_) => Ok(()),
        Ok(_) => Err(format!("written in version {schema}: {state:#?}")),
    }
}

/// What version 1 says of a state, as state-schema/README.md has it.
fn first(state: State) -> State {
    let from = state.generation_before();
    let began_at = state.last_spawn_at.or(state.reexecuted_at).unwrap_or_default();
    let mut first = State {
        newest_generation: state.generation,
        reexec: state.reexec.map(|reexec| Reexec { asked_at: Monotonic(0), ..reexec }),
        rollout: state.rollout.map(|rollout| Rollout::resumed(rollout.kind, from, began_at)),
        last_upgrade: None,
        slot_deaths: BTreeMap::new(),
        ..state
    };
    first.workers.values_mut().for_each(|worker| worker.has_overrun = false);
    for waiter in &mut first.waiters {
        waiter.wants_events = false;
        if matches!(waiter.waits_for, WaitsFor::Settled | WaitsFor::Exit) {
            waiter.waits_for = WaitsFor::Reexec;
        }
    }
    first
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
        has_ended: false,
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
        captured: Vec::new(),
        unlogged: Vec::new(),
    }
}
