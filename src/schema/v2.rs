//! Version 2 of the payload, which no release writes: it is there for the tests of upgrades between
//! versions, with the cargo feature `next`. It has one fact more than version 1.

use serde::{Deserialize, Serialize};

use crate::schema::codec::Text;
use crate::schema::{SchemaError, handover, v1};

/// The payload.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Handover {
    pub first: v1::Handover,
    pub note: Option<Text>,
}

impl From<&handover::Handover> for Handover {
    fn from(handover: &handover::Handover) -> Handover {
        let note = handover.state.note.as_ref().map(Text::from);
        Handover { first: handover.into(), note }
    }
}

impl TryFrom<Handover> for handover::Handover {
    type Error = String;

    fn try_from(wire: Handover) -> Result<handover::Handover, String> {
        let Handover { first, note } = wire;
        let mut handover: handover::Handover = first.try_into()?;
        handover.state.note = note.map(String::from);
        Ok(handover)
    }
}

impl From<v1::Handover> for Handover {
    fn from(first: v1::Handover) -> Handover {
        Handover { first, note: None }
    }
}

impl TryFrom<Handover> for v1::Handover {
    type Error = SchemaError;

    fn try_from(wire: Handover) -> Result<v1::Handover, SchemaError> {
        match wire.note {
            None => Ok(wire.first),
            Some(_) => Err(SchemaError::FeatureInUse { feature: "note", version: 1 }),
        }
    }
}
