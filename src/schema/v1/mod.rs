//! Version 1 of the payload. Each type here is frozen: it gains, loses, moves and renames nothing,
//! and `state-schema/v1/fields.md` says what it means. Later versions go on using those that have
//! not changed since.
//!
//! `_ns` spans are nanoseconds. `_at_ns` instants are nanoseconds of `CLOCK_MONOTONIC`, `_on_ns`
//! nanoseconds of `CLOCK_REALTIME` since 1970.

mod config;
mod descriptors;
mod lost;
mod state;
mod upgrade;

use serde::{Deserialize, Serialize};

use crate::schema::codec::{Bytes, Text};
use crate::schema::{SchemaError, v2};

pub(super) use config::{Config, Listener};
pub(super) use descriptors::{
    Carried, CarriedConnection, CarriedFile, Helper, Identity, Origin, Variable,
};
pub(super) use state::{Connection, Order, State, Stopping, Worker};
pub(super) use upgrade::{Rollout, Scalar, Stage, UpgradeKind};

/// The payload.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::schema) struct Handover {
    release: Text,
    state: State,
    origin: Origin,
    descriptors: Vec<Carried>,
    connections: Vec<CarriedConnection>,
    next_connection: u64,
    helpers: Vec<Helper>,
    files: Vec<CarriedFile>,
}

impl From<Handover> for v2::Handover {
    fn from(wire: Handover) -> v2::Handover {
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
        let state = state.into();
        v2::Handover {
            release,
            state,
            origin,
            descriptors,
            connections,
            next_connection,
            helpers,
            files,
            captured: Vec::new(),
            unlogged: Bytes(Vec::new()),
        }
    }
}

impl TryFrom<v2::Handover> for Handover {
    type Error = SchemaError;

    fn try_from(wire: v2::Handover) -> Result<Handover, SchemaError> {
        let v2::Handover {
            release,
            state,
            origin,
            descriptors,
            connections,
            next_connection,
            helpers,
            files,
            // None without the option, which is a feature.
            captured: _,
            unlogged: _,
        } = wire;
        if let Some(feature) = lost::feature_in_use(&state) {
            return Err(SchemaError::FeatureInUse { feature, version: 1 });
        }
        let state = state.into();
        Ok(Handover {
            release,
            state,
            origin,
            descriptors,
            connections,
            next_connection,
            helpers,
            files,
        })
    }
}
