//! Version 1 of the payload. Each type here is frozen with the first release that writes it: it
//! gains, loses, moves and renames nothing, and `state-schema/v1/fields.md` says what it means.
//!
//! `_ns` spans are nanoseconds. `_at_ns` instants are nanoseconds of `CLOCK_MONOTONIC`, `_on_ns`
//! nanoseconds of `CLOCK_REALTIME` since 1970.

mod config;
mod descriptors;
mod state;
mod upgrade;

use serde::{Deserialize, Serialize};

use crate::schema::codec::{Text, list};
use crate::schema::handover;
use crate::schema::v1::descriptors::{Carried, CarriedConnection, CarriedFile, Helper, Origin};
use crate::schema::v1::state::State;
use crate::state::ConnectionId;

/// The payload.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Handover {
    release: Text,
    state: State,
    origin: Origin,
    descriptors: Vec<Carried>,
    connections: Vec<CarriedConnection>,
    next_connection: u64,
    helpers: Vec<Helper>,
    files: Vec<CarriedFile>,
}

impl From<&handover::Handover> for Handover {
    fn from(handover: &handover::Handover) -> Handover {
        let handover::Handover {
            release,
            state,
            origin,
            descriptors,
            connections,
            next_connection,
            helpers,
            files,
        } = handover;
        Handover {
            release: release.into(),
            state: state.into(),
            origin: origin.into(),
            descriptors: list(descriptors),
            connections: list(connections),
            next_connection: next_connection.0,
            helpers: list(helpers),
            files: list(files),
        }
    }
}

impl TryFrom<Handover> for handover::Handover {
    type Error = String;

    fn try_from(wire: Handover) -> Result<handover::Handover, String> {
        let Handover {
            release,
            state,
            origin,
            descriptors,
            connections,
            next_connection,
            helpers,
            files,
        } = wire;
        Ok(handover::Handover {
            release: release.into(),
            state: state.try_into()?,
            origin: origin.into(),
            descriptors: list(descriptors),
            connections: list(connections),
            next_connection: ConnectionId(next_connection),
            helpers: list(helpers),
            files: list(files),
        })
    }
}
