//! Version 2 of the payload: upgrades that end, canaries, what generations are started with.
//!
//! Types of version 1 that have not changed are used on under its name; `first` is what it says of
//! the same thing. Spans and instants are called as in version 1.

mod captured;
mod config;
mod state;
mod upgrade;

use serde::{Deserialize, Serialize};

use crate::schema::codec::{Bytes, Text, list};
use crate::schema::{handover, v1};
use crate::state::ConnectionId;

pub(super) use captured::CarriedPipe;
pub(super) use config::{Config, ReexecMode, RolloutBounds};
pub(super) use state::{State, Worker};
pub(super) use upgrade::{Reexec, Rollout, RolloutStage, Waiter, WaitsFor};

/// The payload.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::schema) struct Handover {
    pub release: Text,
    pub state: State,
    pub origin: v1::Origin,
    pub descriptors: Vec<v1::Carried>,
    pub connections: Vec<v1::CarriedConnection>,
    pub next_connection: u64,
    pub helpers: Vec<v1::Helper>,
    pub files: Vec<v1::CarriedFile>,
    pub captured: Vec<CarriedPipe>,
    pub unlogged: Bytes,
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
            captured,
            unlogged,
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
            captured: list(captured),
            unlogged: unlogged.as_slice().into(),
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
            captured,
            unlogged: Bytes(unlogged),
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
            captured: list(captured),
            unlogged,
        })
    }
}
