//! The header before the payload, which is the same in every format and must never change.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | magic, `\x89EINHRN\n` |
//! | 8 | 2 | format of the payload, from 1 |
//! | 10 | 2 | flags, 0 |
//! | 12 | 4 | descriptor of the image to roll back to, -1 for none |
//! | 16 | 4 | descriptor that a candidate reports on, -1 for none |
//! | 20 | 8 | length of the payload in bytes |
//! | 28 | 4 | CRC-32 (IEEE) of the payload |
//! | 32 | 4 | CRC-32 (IEEE) of the 32 bytes above |
//! | 36 | | payload |
//!
//! Numbers are little-endian, descriptors signed. The first byte of the magic is not ASCII and the
//! last is a newline, so that no text is mistaken for a state and no state survives a line-ending
//! conversion.

use crate::schema::codec::STATE_MAX;
use crate::schema::error::SchemaError;
use crate::state::STATE_FORMAT;

/// The first bytes of every state.
const MAGIC: [u8; 8] = *b"\x89EINHRN\n";

/// The length of the header, in every format.
pub const HEADER_BYTES: usize = 36;

/// The length of the part of the header that its own checksum covers.
const CHECKED_BYTES: usize = 32;

/// The decoded header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The payload's format.
    pub format: u16,
    /// Reserved; a release refuses flags that it does not know.
    pub flags: u16,
    /// The descriptor of the image to roll back to if adopting fails.
    pub rollback: Option<i32>,
    /// The descriptor that a candidate reports on.
    pub report: Option<i32>,
    /// The payload's length in bytes.
    pub payload_length: u64,
    /// The payload's checksum.
    pub payload_crc: u32,
}

/// Reads the header only, whatever the format of the payload: enough to roll back.
///
/// # Errors
/// The header is truncated, has the wrong magic, is damaged, or has an invalid descriptor number.
pub fn read_header(bytes: &[u8]) -> Result<Header, SchemaError> {
    let Some((header, _)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        let (length, needed) = (count(bytes.len()), count(HEADER_BYTES));
        return Err(SchemaError::Truncated { length, needed });
    };
    let (checked, crc) = header.split_at(CHECKED_BYTES);
    let mut rest = checked;
    if field::<8>(&mut rest) != MAGIC {
        return Err(SchemaError::BadMagic);
    }
    if crc32fast::hash(checked).to_le_bytes() != crc {
        return Err(SchemaError::HeaderDamaged);
    }
    Ok(Header {
        format: u16::from_le_bytes(field(&mut rest)),
        flags: u16::from_le_bytes(field(&mut rest)),
        rollback: descriptor("rollback", i32::from_le_bytes(field(&mut rest)))?,
        report: descriptor("report", i32::from_le_bytes(field(&mut rest)))?,
        payload_length: u64::from_le_bytes(field(&mut rest)),
        payload_crc: u32::from_le_bytes(field(&mut rest)),
    })
}

/// Takes the next bytes of a header; the caller has checked its length.
fn field<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let (taken, later) = rest.split_first_chunk::<N>().unwrap_or((&[0; N], &[]));
    *rest = later;
    *taken
}

fn descriptor(name: &str, number: i32) -> Result<Option<i32>, SchemaError> {
    match number {
        -1 => Ok(None),
        3.. => Ok(Some(number)),
        _ => Err(SchemaError::Inconsistent(format!("the {name} descriptor has number {number}"))),
    }
}

/// Checks the header and the payload's length and checksum, and returns both.
pub(super) fn open(bytes: &[u8]) -> Result<(Header, &[u8]), SchemaError> {
    let header = read_header(bytes)?;
    if header.flags != 0 {
        return Err(SchemaError::UnknownFlags(header.flags));
    }
    if header.format != STATE_FORMAT {
        return Err(SchemaError::UnknownFormat(header.format));
    }
    let needed = header.payload_length.saturating_add(count(HEADER_BYTES));
    if needed > count(STATE_MAX) {
        return Err(SchemaError::TooLarge(needed));
    }
    let length = count(bytes.len());
    if length < needed {
        return Err(SchemaError::Truncated { length, needed });
    }
    if length > needed {
        return Err(SchemaError::TrailingBytes(length - needed));
    }
    let payload = &bytes[HEADER_BYTES..];
    if crc32fast::hash(payload) != header.payload_crc {
        return Err(SchemaError::PayloadDamaged);
    }
    Ok((header, payload))
}

/// Prepends the header to a payload.
pub(super) fn seal(
    rollback: Option<i32>,
    report: Option<i32>,
    payload: &[u8],
) -> Result<Vec<u8>, SchemaError> {
    let length = HEADER_BYTES + payload.len();
    if length > STATE_MAX {
        return Err(SchemaError::TooLarge(count(length)));
    }
    let mut bytes = Vec::with_capacity(length);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&STATE_FORMAT.to_le_bytes());
    bytes.extend_from_slice(&0u16.to_le_bytes());
    bytes.extend_from_slice(&rollback.unwrap_or(-1).to_le_bytes());
    bytes.extend_from_slice(&report.unwrap_or(-1).to_le_bytes());
    bytes.extend_from_slice(&count(payload.len()).to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(payload).to_le_bytes());
    let crc = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes.extend_from_slice(payload);
    Ok(bytes)
}

/// A length in the header's type.
fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
