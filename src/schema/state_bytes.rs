//! Encodes a hand-over and decodes it again.

use crate::schema::envelope::{self, Header};
use crate::schema::error::SchemaError;
use crate::schema::handover::Handover;
use crate::schema::handover_invariants;
use crate::schema::payload::{self, Decoded};

/// Encodes a hand-over. `rollback` is the descriptor of the image to roll back to, `report` the
/// descriptor on which a candidate reports.
///
/// The result is decoded again and compared, so that a fact that no section carries is an error
/// here and not lost in the exec.
///
/// # Errors
/// The state is too large or inconsistent, or does not decode to the same state.
pub fn encode(
    handover: &Handover,
    rollback: Option<i32>,
    report: Option<i32>,
) -> Result<Vec<u8>, SchemaError> {
    handover_invariants::check([rollback, report], handover).map_err(SchemaError::Inconsistent)?;
    let bytes = envelope::seal(rollback, report, &payload::write(handover)?)?;
    match decode(&bytes)?.handover == *handover {
        true => Ok(bytes),
        false => Err(SchemaError::NotReproduced),
    }
}

/// Decodes a hand-over from untrusted bytes: no critical section is unknown; nothing is missing,
/// left over, damaged or non-canonical; and all invariants hold.
///
/// # Errors
/// One of these conditions does not hold.
pub fn decode(bytes: &[u8]) -> Result<Decoded, SchemaError> {
    let (Header { rollback, report, .. }, payload) = envelope::open(bytes)?;
    let decoded = payload::read(payload)?;
    handover_invariants::check([rollback, report], &decoded.handover)
        .map_err(SchemaError::Inconsistent)?;
    Ok(decoded)
}
