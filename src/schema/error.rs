//! Why bytes are no state, or a state cannot become bytes.

use std::fmt;

use crate::schema::STATE_MAX;
use crate::state::SCHEMA_VERSIONS;

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
    /// A version that this release neither reads nor writes.
    UnknownVersion(u16),
    /// More bytes than a state may have.
    TooLarge(u64),
    /// Bytes after the end that the header announces.
    TrailingBytes(u64),
    /// The payload's checksum is another.
    PayloadDamaged,
    /// The payload does not have the structure of its version.
    Undecodable(String),
    /// The payload's structure ends before its bytes do.
    UnreadBytes(u64),
    /// It was read, and says what cannot be.
    Inconsistent(String),
    /// The state uses something that the version has no words for.
    FeatureInUse {
        /// Its name, one of [`crate::state::FEATURES`].
        feature: &'static str,
        /// The version that was asked for.
        version: u16,
    },
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
            SchemaError::UnknownVersion(version) => write!(
                out,
                "schema version {version} is unknown: this release reads {SCHEMA_VERSIONS:?}"
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
            SchemaError::Undecodable(why) => {
                write!(out, "the state does not have the structure of its version: {why}")
            }
            SchemaError::UnreadBytes(count) => {
                write!(out, "the state ends {count} bytes before its payload does")
            }
            SchemaError::Inconsistent(what) => write!(out, "the state is inconsistent: {what}"),
            SchemaError::FeatureInUse { feature, version } => {
                write!(out, "schema version {version} cannot carry {feature:?}, which is in use")
            }
            SchemaError::NotReproduced => {
                out.write_str("the state that was written reads back as another one")
            }
        }
    }
}

impl std::error::Error for SchemaError {}
