//! A state for people to read.

use serde::Serialize;

use crate::schema::envelope;
use crate::schema::error::SchemaError;
use crate::schema::payload;
use crate::schema::state_bytes::decode;

/// What stands before the sections: the header, why a master refuses the state if it does, and
/// what it skips.
#[derive(Serialize)]
struct Summary {
    format: u16,
    rollback_descriptor: Option<i32>,
    report_descriptor: Option<i32>,
    payload_bytes: u64,
    refused: Option<String>,
    skipped: Vec<String>,
}

/// Every field of a state with its name and value, by section, as YAML. The values of environment
/// variables are left out: they hold secrets. A state that can be read and is refused is shown as
/// well, with the reason for which a master refuses it; of a section that this release does not
/// know, the length is.
///
/// # Errors
/// The header is not what it should be, or the payload or a section does not have its structure.
pub fn describe(bytes: &[u8]) -> Result<String, SchemaError> {
    let (header, payload) = envelope::open(bytes)?;
    let mut sections = String::new();
    for entry in payload::entries(payload)? {
        sections += &match payload::row(entry.name) {
            Some((_, row)) => (row.describe)(entry.content)?,
            None => format!("{}: {} bytes, unknown\n", entry.name, entry.content.len()),
        };
    }
    let decoded = decode(bytes);
    let summary = Summary {
        format: header.format,
        rollback_descriptor: header.rollback,
        report_descriptor: header.report,
        payload_bytes: header.payload_length,
        refused: decoded.as_ref().err().map(ToString::to_string),
        skipped: decoded.map(|decoded| decoded.skipped).unwrap_or_default(),
    };
    let summary = serde_yaml::to_string(&summary);
    let summary = summary.map_err(|error| payload::no_list(error.to_string()))?;
    Ok(summary + &sections)
}
