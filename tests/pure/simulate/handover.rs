//! The way of the state into the next image: as bytes, and back.

use einhorn::schema::{Carried, CarriedConnection, Handover, Identity, Role, decode, encode};
use einhorn::state::{ConnectionId, Now, State};

use super::rules::same;
use crate::schema::golden;

/// What the next image decodes.
///
/// # Errors
/// The state cannot be written, or is another one when it is read.
pub(super) fn travel(state: &State) -> Result<State, String> {
    let bytes = encode(&handover(state), Some(3), None).map_err(|error| error.to_string())?;
    let read = decode(&bytes).map_err(|error| error.to_string())?.handover.state;
    same("the state", &read, state)?;
    Ok(read)
}

/// What a Ruby Einhorn is given is a document, unless it has no words for some settings of late.
/// What it does then is not simulated; here none can be executed.
///
/// # Errors
/// The state cannot be written, or not be read.
pub(super) fn to_ruby(state: &State) -> Result<(), String> {
    if !einhorn::ruby::unknown_to_ruby(state).is_empty() {
        return Ok(());
    }
    let written = einhorn::ruby::write(&handover(state), Now::default())?;
    let read: serde_yaml::Value =
        serde_yaml::from_str(&written).map_err(|error| format!("{error}: {written}"))?;
    let children = read[":state"][":children"].as_mapping().map(|children| children.len());
    same("the children", &children, &Some(state.workers.len()))
}

/// The state with a shell around it that has nothing to say.
fn handover(state: &State) -> Handover {
    let mut handover = Handover { state: state.clone(), ..golden::none() };
    for ((id, connection), number) in state.connections.iter().zip(100..) {
        let (role, identity) = (Role::Connection(*id), Identity::default());
        handover.descriptors.push(Carried { role, number, identity });
        handover.connections.push(CarriedConnection {
            id: *id,
            input: Vec::new(),
            is_discarding: false,
            output: Vec::new(),
            is_given: connection.given_to.is_some(),
            read_closed: false,
            is_closing: false,
        });
        handover.next_connection = ConnectionId(id.0 + 1);
    }
    handover
}
