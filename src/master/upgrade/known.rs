//! What this release knows of states. The release for tests plays one that knows version 1 only,
//! where it is told to: to such a release a master must be able to go down.

use crate::schema::{self, Handover, SchemaError};
use crate::state::{FEATURES, SCHEMA_VERSIONS};

/// The schema versions that are read, oldest first.
pub(super) fn versions() -> &'static [u16] {
    if is_first() { &SCHEMA_VERSIONS[..1] } else { SCHEMA_VERSIONS }
}

/// The features by name.
pub(super) fn features() -> &'static [&'static str] {
    if is_first() { &[] } else { FEATURES }
}

/// Reads a state.
///
/// # Errors
/// It is none, or of a version that is not read.
pub(super) fn decode(bytes: &[u8]) -> Result<Handover, SchemaError> {
    let version = schema::read_header(bytes)?.version;
    match versions().contains(&version) {
        true => schema::decode(bytes),
        false => Err(SchemaError::UnknownVersion(version)),
    }
}

fn is_first() -> bool {
    cfg!(feature = "next") && std::env::var_os("EINHORN_TEST_FIRST_SCHEMA").is_some()
}
