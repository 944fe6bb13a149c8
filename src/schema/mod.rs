//! Floor 2: the state as bytes, by version. Pure: whoever reads a descriptor or a file calls this.
//!
//! A state is an [envelope](Header) that every release can read, and a payload in one version of
//! the schema. The wire structs of a version never change once released. bincode writes no names,
//! so whatever is added, removed, moved or given another type makes a new version:
//!
//! 1. Declare `vN+1` below: the types that change and those that hold them; the others it goes on
//!    using under `vN`, the newest.
//! 2. Its conversions from and to [`Handover`] are the newest now. In their place leave in `vN` the
//!    conversions of its payload to that of `vN+1`, and back; the way back refuses by name what
//!    `vN` has no words for ([`SchemaError::FeatureInUse`]). A version converts to the next only.
//! 3. Add the number to `state::SCHEMA_VERSIONS`, and to each `match` on a version in this folder.
//! 4. If a state can mean something that a reader of `vN` must not miss, give it a name in
//!    `state::FEATURES`, and tell in `State::features_in_use` when it is in use.
//! 5. Write `state-schema/vN+1/fields.md`, values for the tests (`VERSIONS` in
//!    `tests/pure/schema.rs`), the files with `EINHORN_BLESS=1 cargo test --test pure schema`, and
//!    read their twins.
//! 6. Say in `state-schema/README.md` and in the changelog what the version adds, and what becomes
//!    of it on the way down.
//! 7. With the release that writes it, seal it: `SEALED` beside `VERSIONS`.
//!
//! `v3`, behind the cargo feature `next`, is an example for tests.

mod check;
mod codec;
mod describe;
mod envelope;
mod error;
mod handover;
mod v1;
mod v2;
#[cfg(feature = "next")]
mod v3;

pub use describe::describe;
pub use envelope::{HEADER_BYTES, Header, STATE_MAX, read_header};
pub use error::SchemaError;
pub use handover::{
    Carried, CarriedConnection, CarriedFile, CarriedPipe, Handover, Identity, Origin, Role,
};

/// Writes a hand-over in a schema version, for a reader that may roll back to the image that is
/// open under one number and reports, if it is only asked, under another.
///
/// What it writes it has read back, and found to be the same.
///
/// # Errors
/// The version is unknown or has no words for something in use; the state is too large or
/// inconsistent.
pub fn encode(
    handover: &Handover,
    version: u16,
    rollback: Option<i32>,
    report: Option<i32>,
) -> Result<Vec<u8>, SchemaError> {
    let payload = write_payload(handover, version)?;
    let bytes = envelope::seal(version, rollback, report, &payload)?;
    // Compared as bytes: a NaN that a client chose as its id equals itself in no other way.
    match write_payload(&decode(&bytes)?, version)? == payload {
        true => Ok(bytes),
        false => Err(SchemaError::NotReproduced),
    }
}

/// Reads a hand-over, all of it, whatever the bytes are: the version is known, nothing is missing
/// or left over or damaged, and what it says can be.
///
/// # Errors
/// Anything of that does not hold.
pub fn decode(bytes: &[u8]) -> Result<Handover, SchemaError> {
    let (header, payload) = envelope::open(bytes)?;
    adopt(&header, payload)
}

/// Reads a payload that its header vouches for.
fn adopt(header: &Header, payload: &[u8]) -> Result<Handover, SchemaError> {
    let handover = read_payload(header.version, payload)?;
    check::check(header, &handover).map_err(SchemaError::Inconsistent)?;
    Ok(handover)
}

#[cfg(not(feature = "next"))]
fn write_payload(handover: &Handover, version: u16) -> Result<Vec<u8>, SchemaError> {
    let newest = v2::Handover::from(handover);
    match version {
        1 => codec::write(&v1::Handover::try_from(newest)?),
        2 => codec::write(&newest),
        other => Err(SchemaError::UnknownVersion(other)),
    }
}

#[cfg(not(feature = "next"))]
fn read_payload(version: u16, payload: &[u8]) -> Result<Handover, SchemaError> {
    let newest: v2::Handover = match version {
        1 => codec::read::<v1::Handover>(payload)?.into(),
        2 => codec::read(payload)?,
        other => return Err(SchemaError::UnknownVersion(other)),
    };
    newest.try_into().map_err(SchemaError::Inconsistent)
}

#[cfg(feature = "next")]
fn write_payload(handover: &Handover, version: u16) -> Result<Vec<u8>, SchemaError> {
    let newest = v3::Handover::from(handover);
    match version {
        1 => codec::write(&v1::Handover::try_from(v2::Handover::try_from(newest)?)?),
        2 => codec::write(&v2::Handover::try_from(newest)?),
        3 => codec::write(&newest),
        other => Err(SchemaError::UnknownVersion(other)),
    }
}

#[cfg(feature = "next")]
fn read_payload(version: u16, payload: &[u8]) -> Result<Handover, SchemaError> {
    let newest: v3::Handover = match version {
        1 => v2::Handover::from(codec::read::<v1::Handover>(payload)?).into(),
        2 => codec::read::<v2::Handover>(payload)?.into(),
        3 => codec::read(payload)?,
        other => return Err(SchemaError::UnknownVersion(other)),
    };
    newest.try_into().map_err(SchemaError::Inconsistent)
}
