//! The bytes that no release may take for a state, with the error that each must give. What later
//! versions go on using of version 1 stands there.

mod v1;
mod v2;

use einhorn::schema::HEADER_BYTES;

use super::VERSIONS;

/// A file that must be refused.
pub(super) struct Refused {
    pub(super) version: u16,
    pub(super) name: &'static str,
    /// The variant of `SchemaError`.
    pub(super) expect: &'static str,
    /// Why the bytes are what they are.
    pub(super) comment: &'static str,
    pub(super) bytes: Vec<u8>,
}

/// All of them, by version.
pub(super) fn everything() -> impl Iterator<Item = Refused> {
    VERSIONS.iter().flat_map(|version| all(*version))
}

/// All of a version.
pub(super) fn all(version: u16) -> Vec<Refused> {
    let files = if version == 1 { v1::all() } else { v2::all() };
    files.into_iter().map(|file| Refused { version, ..file }).collect()
}

/// A file, of whichever version lists it.
fn refused(
    name: &'static str,
    expect: &'static str,
    comment: &'static str,
    bytes: Vec<u8>,
) -> Refused {
    Refused { version: 0, name, expect, comment, bytes }
}

/// One that can be read, and says what cannot be.
fn inconsistent(name: &'static str, comment: &'static str, bytes: Vec<u8>) -> Refused {
    refused(name, "Inconsistent", comment, bytes)
}

/// Numbers as they are written.
fn u32s(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

/// Numbers as they are written.
fn u64s(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

/// Other bytes in the place of some that stand in the payload once, with checksums that agree.
fn replaced(state: &[u8], from: &[Vec<u8>], to: &[Vec<u8>]) -> Vec<u8> {
    let (from, to) = (from.concat(), to.concat());
    let mut payload = state[HEADER_BYTES..].to_vec();
    let found: Vec<usize> =
        (0..payload.len()).filter(|at| payload[*at..].starts_with(&from)).collect();
    let [at] = found[..] else { panic!("{from:?} is found at {found:?}") };
    payload.splice(at..at + from.len(), to);
    let version = u16::from_le_bytes([state[8], state[9]]);
    sealed(version, &payload)
}

/// A payload of a version in a good envelope.
pub(super) fn sealed(version: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x89EINHRN\n".to_vec();
    bytes.extend_from_slice(&version.to_le_bytes());
    // No flags, no image to roll back to, nobody to report to.
    bytes.extend_from_slice(&[0, 0, 255, 255, 255, 255, 255, 255, 255, 255]);
    bytes.extend_from_slice(&(payload.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(payload).to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(payload);
    mend_header(bytes)
}

/// The header's checksum as its fields have it.
fn mend_header(mut bytes: Vec<u8>) -> Vec<u8> {
    let crc = crc32fast::hash(&bytes[..32]);
    bytes[32..HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
    bytes
}
