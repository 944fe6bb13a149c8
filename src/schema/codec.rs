//! Encodes and decodes wire structs; the only place that names bincode.
//!
//! The encoding: fields in order of declaration, without names; numbers are fixed-width
//! little-endian; a `bool` or the presence of an `Option` is one byte, 0 or 1; text, bytes and
//! lists start with their length as u64; a map is a list of pairs; an enum starts with its variant
//! index as u32.

use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use bincode::error::DecodeError;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The maximum size of a state, header included. Everything that the other limits allow a master to
/// hold fits: 4096 clients with a line and a chunk of input each (128 MiB), 64 MiB of pending
/// replies, ten thousand workers (3 MiB), an environment (at most 6 MiB by execve(2)).
pub const STATE_MAX: usize = 256 * 1024 * 1024;

/// Must never change: released payloads use it.
const ENCODING: Configuration<LittleEndian, Fixint, Limit<STATE_MAX>> = bincode::config::standard()
    .with_little_endian()
    .with_fixed_int_encoding()
    .with_limit::<STATE_MAX>();

/// Encodes a wire struct.
///
/// # Errors
/// Never with the types that sections use; bincode's signature requires a result.
pub(super) fn write(wire: &impl Serialize) -> Result<Vec<u8>, String> {
    bincode::serde::encode_to_vec(wire, ENCODING).map_err(|error| error.to_string())
}

/// Decodes a wire struct from exactly these bytes. It borrows from them, so that each length is
/// checked against the bytes present before anything is allocated.
///
/// # Errors
/// The bytes are malformed; the message does not quote them.
pub(super) fn read<'p, T: Deserialize<'p>>(bytes: &'p [u8]) -> Result<T, String> {
    let read = bincode::serde::borrow_decode_from_slice(bytes, ENCODING);
    let (wire, used) = read.map_err(|error| match error {
        DecodeError::Other(why) => why.to_owned(),
        DecodeError::OtherString(why) => why,
        other => other.to_string(),
    })?;
    match bytes.len() - used {
        0 => Ok(wire),
        unread => Err(format!("{unread} bytes are left over")),
    }
}

/// Bytes that need not be UTF-8: paths, words of commands, client input.
pub(super) struct Bytes(pub(super) Vec<u8>);

/// Bytes that are not shown in human-readable output.
#[derive(Deserialize)]
pub(super) struct Secret(pub(super) Bytes);

/// UTF-8 text.
#[derive(Serialize)]
pub(super) struct Text(pub(super) String);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match to.is_human_readable() {
            true => to.serialize_str(&escaped(&self.0)),
            false => to.serialize_bytes(&self.0),
        }
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match to.is_human_readable() {
            true => to.serialize_str("…"),
            false => self.0.serialize(to),
        }
    }
}

// Each borrows first, and copies only bytes that are present.

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Bytes, D::Error> {
        <&[u8]>::deserialize(from).map(|bytes| Bytes(bytes.to_vec()))
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Text, D::Error> {
        <&str>::deserialize(from).map(|text| Text(text.to_owned()))
    }
}

/// UTF-8 text with backslashes and control characters escaped; other bytes as `\x..`.
fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character.is_control() || character == '\\' {
                true => text.extend(character.escape_default()),
                false => text.push(character),
            }
        }
        text.extend(chunk.invalid().iter().flat_map(|byte| byte.escape_ascii()).map(char::from));
    }
    text
}
