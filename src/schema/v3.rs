//! Version 3 of the payload, which no release writes: it is there for the tests of upgrades between
//! versions, with the cargo feature `next`. It has one fact more than version 2.

use serde::{Deserialize, Serialize};

use crate::schema::codec::Text;
use crate::schema::{SchemaError, handover, v2};

/// The payload.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Handover {
    pub second: v2::Handover,
    pub note: Option<Text>,
}

impl From<&handover::Handover> for Handover {
    fn from(handover: &handover::Handover) -> Handover {
        let note = handover.state.note.as_ref().map(Text::from);
        Handover { second: handover.into(), note }
    }
}

impl TryFrom<Handover> for handover::Handover {
    type Error = String;

    fn try_from(wire: Handover) -> Result<handover::Handover, String> {
        let Handover { second, note } = wire;
        let mut handover: handover::Handover = second.try_into()?;
        handover.state.note = note.map(String::from);
        Ok(handover)
    }
}

impl From<v2::Handover> for Handover {
    fn from(second: v2::Handover) -> Handover {
        Handover { second, note: None }
    }
}

impl TryFrom<Handover> for v2::Handover {
    type Error = SchemaError;

    fn try_from(wire: Handover) -> Result<v2::Handover, SchemaError> {
        match wire.note {
            None => Ok(wire.second),
            Some(_) => Err(SchemaError::FeatureInUse { feature: "note", version: 2 }),
        }
    }
}
