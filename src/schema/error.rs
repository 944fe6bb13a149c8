//! Why bytes are no state, or a state cannot become bytes.

use std::fmt;

use crate::schema::codec::STATE_MAX;
use crate::state::STATE_FORMAT;

/// A refusal, one variant a reason. Its words name what was wrong and never quote the state, which
/// holds secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SchemaError {
    /// Fewer bytes than the header has or announces.
    Truncated {
        /// How many there are.
        length: u64,
        /// How many there should be.
        needed: u64,
    },
    /// These bytes are something else.
    BadMagic,
    /// The header's own checksum is another.
    HeaderDamaged,
    /// The header has flags, and this release knows none.
    UnknownFlags(u16),
    /// A format that this release neither reads nor writes.
    UnknownFormat(u16),
    /// More bytes than a state may have.
    TooLarge(u64),
    /// Bytes after the end that the header announces.
    TrailingBytes(u64),
    /// The payload's checksum is another.
    PayloadDamaged,
    /// The payload, or a section of it, does not have its structure.
    Undecodable {
        /// The section's name; `None` for the list of sections itself.
        section: Option<&'static str>,
        /// What is wrong.
        why: String,
    },
    /// A section that a release must know to adopt the state, and that this one does not know.
    UnknownSection(String),
    /// A section stands twice, or in another place than its own.
    Misplaced(String),
    /// A section says of itself that it may be skipped, or that it may not, and that is wrong.
    Mismarked(&'static str),
    /// A section that every state has is not there.
    Missing(&'static str),
    /// A section says in other bytes what a master writes in its own way.
    OtherSpelling(&'static str),
    /// It was read, and says what cannot be.
    Inconsistent(String),
    /// What was written reads back as something else.
    NotReproduced,
}

impl fmt::Display for SchemaError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SchemaError::Truncated { length, needed } => {
                write!(out, "the state is cut short: {length} bytes of {needed}")
            }
            SchemaError::BadMagic => out.write_str("this is no state of an einhorn"),
            SchemaError::HeaderDamaged => {
                out.write_str("the state's header is damaged: its checksum is wrong")
            }
            SchemaError::UnknownFlags(flags) => {
                write!(out, "the state has flags that this release does not know: {flags:#06x}")
            }
            SchemaError::UnknownFormat(format) => write!(
                out,
                "a state of format {format} is unknown: this release reads format {STATE_FORMAT}"
            ),
            SchemaError::TooLarge(length) => {
                write!(out, "a state of {length} bytes is too large: the limit is {STATE_MAX}")
            }
            SchemaError::TrailingBytes(count) => {
                write!(out, "{count} bytes follow the end of the state")
            }
            SchemaError::PayloadDamaged => {
                out.write_str("the state is damaged: its checksum is wrong")
            }
            SchemaError::Undecodable { section: None, why } => {
                write!(out, "the state is no list of sections: {why}")
            }
            SchemaError::Undecodable { section: Some(name), why } => {
                write!(out, "the section {name:?} of the state does not have its structure: {why}")
            }
            SchemaError::UnknownSection(name) => {
                write!(out, "the state has {name:?} in use, which this release does not know")
            }
            SchemaError::Misplaced(name) => {
                write!(out, "the section {name:?} of the state stands twice or out of order")
            }
            SchemaError::Mismarked(name) => {
                write!(out, "the section {name:?} of the state has its critical byte wrong")
            }
            SchemaError::Missing(name) => {
                write!(out, "the section {name:?} of the state is missing")
            }
            SchemaError::OtherSpelling(name) => {
                write!(out, "the section {name:?} of the state is not as a master writes it")
            }
            SchemaError::Inconsistent(what) => write!(out, "the state is inconsistent: {what}"),
            SchemaError::NotReproduced => {
                out.write_str("the state that was written reads back as another one")
            }
        }
    }
}

impl std::error::Error for SchemaError {}
