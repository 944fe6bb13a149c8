//! Errors of decoding and encoding a state.

use std::fmt;

use crate::schema::codec::STATE_MAX;
use crate::state::STATE_FORMAT;

/// Why a state was refused. The messages name what was wrong and never quote the state, which holds
/// secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SchemaError {
    /// Fewer bytes than the header has or announces.
    Truncated {
        /// The number of bytes present.
        length: u64,
        /// The number of bytes expected.
        needed: u64,
    },
    /// The bytes are not a state.
    BadMagic,
    /// The header's own checksum is wrong.
    HeaderDamaged,
    /// The header has flags set; this release knows none.
    UnknownFlags(u16),
    /// A format that this release neither reads nor writes.
    UnknownFormat(u16),
    /// The state exceeds the maximum size.
    TooLarge(u64),
    /// Bytes after the end that the header announces.
    TrailingBytes(u64),
    /// The payload's checksum is wrong.
    PayloadDamaged,
    /// The payload or a section is malformed.
    Undecodable {
        /// The section's name; `None` for the list of sections itself.
        section: Option<&'static str>,
        /// What is wrong.
        why: String,
    },
    /// A critical section that this release does not know.
    UnknownSection(String),
    /// A section is duplicated or out of order.
    Misplaced(String),
    /// A section's critical flag is wrong.
    WrongCriticalFlag(&'static str),
    /// A section that every state has is missing.
    Missing(&'static str),
    /// A section is not in the canonical encoding that a master writes.
    NotCanonical(&'static str),
    /// The state was decoded but breaks an invariant.
    Inconsistent(String),
    /// The encoded state does not decode to the same state.
    NotReproduced,
}

impl fmt::Display for SchemaError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let section = |name: &str, what: &str| format!("the section {name:?} of the state {what}");
        let text = match self {
            SchemaError::Truncated { length, needed } => {
                format!("the state is cut short: {length} bytes of {needed}")
            }
            SchemaError::BadMagic => "this is not an einhorn state".to_owned(),
            SchemaError::HeaderDamaged => {
                "the state's header is damaged: its checksum is wrong".to_owned()
            }
            SchemaError::UnknownFlags(flags) => {
                format!("the state has flags that this release does not know: {flags:#06x}")
            }
            SchemaError::UnknownFormat(format) => format!(
                "a state of format {format} is unknown: this release reads format {STATE_FORMAT}"
            ),
            SchemaError::TooLarge(length) => {
                format!("a state of {length} bytes is too large: the limit is {STATE_MAX}")
            }
            SchemaError::TrailingBytes(count) => {
                format!("{count} bytes follow the end of the state")
            }
            SchemaError::PayloadDamaged => "the state is damaged: its checksum is wrong".to_owned(),
            SchemaError::Undecodable { section: None, why } => {
                format!("the state is not a list of sections: {why}")
            }
            SchemaError::Undecodable { section: Some(name), why } => {
                section(name, &format!("is malformed: {why}"))
            }
            SchemaError::UnknownSection(name) => {
                format!("the state has {name:?} in use, which this release does not know")
            }
            SchemaError::Misplaced(name) => section(name, "is duplicated or out of order"),
            SchemaError::WrongCriticalFlag(name) => section(name, "has the wrong critical flag"),
            SchemaError::Missing(name) => section(name, "is missing"),
            SchemaError::NotCanonical(name) => section(name, "is not in its canonical form"),
            SchemaError::Inconsistent(what) => format!("the state is inconsistent: {what}"),
            SchemaError::NotReproduced => {
                "the encoded state does not decode to the same state".to_owned()
            }
        };
        out.write_str(&text)
    }
}

impl std::error::Error for SchemaError {}
