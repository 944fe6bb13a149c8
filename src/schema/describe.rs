//! Human-readable output of a state.

use serde::Serialize;

use crate::schema::envelope;
use crate::schema::error::SchemaError;
use crate::schema::payload;
use crate::schema::state_bytes::decode;

/// The part of the output before the sections: the header, why a master would refuse the state, and
/// the sections that it would skip.
#[derive(Serialize)]
struct Summary {
    format: u16,
    rollback_descriptor: Option<i32>,
    report_descriptor: Option<i32>,
    payload_bytes: u64,
    refused: Option<String>,
    skipped: Vec<String>,
}

/// Formats a state as YAML: every field with its name and value, by section. The values of
/// environment variables are omitted, since they may be secret. A state that is readable but would
/// be refused is shown too, with the reason; of a section that this release does not know, only the
/// length is shown.
///
/// # Errors
/// The header is invalid, or the payload or a section is malformed.
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
    let summary = summary.map_err(|error| payload::not_a_section_list(error.to_string()))?;
    Ok(summary + &sections)
}
