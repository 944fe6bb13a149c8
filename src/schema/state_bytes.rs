//! A hand-over as bytes, and bytes as a hand-over.

use crate::schema::check;
use crate::schema::envelope::{self, Header};
use crate::schema::error::SchemaError;
use crate::schema::handover::Handover;
use crate::schema::payload::{self, Decoded};

/// Writes a hand-over, for a reader that may roll back to the image that is open under one number
/// and reports, if it is only asked, under another.
///
/// What it writes it has read back, and found to be the same: a fact that no section carries is an
/// error here, and not a loss after the exec.
///
/// # Errors
/// The state is too large or inconsistent, or reads back as another one.
pub fn encode(
    handover: &Handover,
    rollback: Option<i32>,
    report: Option<i32>,
) -> Result<Vec<u8>, SchemaError> {
    check::check([rollback, report], handover).map_err(SchemaError::Inconsistent)?;
    let bytes = envelope::seal(rollback, report, &payload::write(handover)?)?;
    match decode(&bytes)?.handover == *handover {
        true => Ok(bytes),
        false => Err(SchemaError::NotReproduced),
    }
}

/// Reads a hand-over, all of it, whatever the bytes are: nothing critical is unknown, nothing is
/// missing or left over or damaged or spelled otherwise, and what it says can be.
///
/// # Errors
/// Anything of that does not hold.
pub fn decode(bytes: &[u8]) -> Result<Decoded, SchemaError> {
    let (Header { rollback, report, .. }, payload) = envelope::open(bytes)?;
    let decoded = payload::read(payload)?;
    check::check([rollback, report], &decoded.handover).map_err(SchemaError::Inconsistent)?;
    Ok(decoded)
}
