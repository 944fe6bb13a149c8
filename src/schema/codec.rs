//! Wire structs to payload bytes and back; the only place that names bincode.
//!
//! The encoding: fields in the order of their declaration and without names; numbers fixed-width
//! little-endian; a `bool` or the presence of an `Option` is a byte, 0 or 1; text, bytes and lists
//! begin with their length as u64; an enum begins with the index of its variant as u32.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::Duration;

use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use bincode::error::DecodeError;
use serde::de::{self, Deserializer, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

use crate::schema::{STATE_MAX, SchemaError};

/// Fixed for ever: released payloads are written in it.
const ENCODING: Configuration<LittleEndian, Fixint, Limit<STATE_MAX>> = bincode::config::standard()
    .with_little_endian()
    .with_fixed_int_encoding()
    .with_limit::<STATE_MAX>();

/// A wire struct as payload.
pub(super) fn write(wire: &impl Serialize) -> Result<Vec<u8>, SchemaError> {
    bincode::serde::encode_to_vec(wire, ENCODING)
        .map_err(|error| SchemaError::Undecodable(error.to_string()))
}

/// A payload, all of it, as wire struct. Borrowing, so that a length is compared with the bytes
/// that are there before anything is allocated.
pub(super) fn read<'p, T: Deserialize<'p>>(payload: &'p [u8]) -> Result<T, SchemaError> {
    let (wire, used) = bincode::serde::borrow_decode_from_slice(payload, ENCODING).map_err(
        |error| match error {
            DecodeError::Other(why) => SchemaError::Undecodable(why.to_owned()),
            DecodeError::OtherString(why) => SchemaError::Undecodable(why),
            other => SchemaError::Undecodable(other.to_string()),
        },
    )?;
    match payload.len() - used {
        0 => Ok(wire),
        unread => Err(SchemaError::UnreadBytes(u64::try_from(unread).unwrap_or(u64::MAX))),
    }
}

/// Bytes that need not be UTF-8: paths, words of commands, what clients sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bytes(pub(super) Vec<u8>);

/// Bytes that people do not get to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Secret(pub(super) Vec<u8>);

/// UTF-8 text.
#[derive(Clone, Debug, PartialEq, Eq)]
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
            false => to.serialize_bytes(&self.0),
        }
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Bytes, D::Error> {
        from.deserialize_bytes(BytesVisitor).map(Bytes)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Secret, D::Error> {
        from.deserialize_bytes(BytesVisitor).map(Secret)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Text, D::Error> {
        <&str>::deserialize(from).map(|text| Text(text.to_owned()))
    }
}

/// Copies bytes once it is known that they are there.
struct BytesVisitor;

impl Visitor<'_> for BytesVisitor {
    type Value = Vec<u8>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("bytes")
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_vec())
    }
}

/// UTF-8 as it is but for backslashes and control characters; other bytes as `\x..`.
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

impl From<&[u8]> for Bytes {
    fn from(bytes: &[u8]) -> Bytes {
        Bytes(bytes.to_vec())
    }
}

impl From<&OsString> for Bytes {
    fn from(word: &OsString) -> Bytes {
        Bytes(word.as_bytes().to_vec())
    }
}

impl From<&PathBuf> for Bytes {
    fn from(path: &PathBuf) -> Bytes {
        Bytes(path.as_os_str().as_bytes().to_vec())
    }
}

impl From<Bytes> for OsString {
    fn from(bytes: Bytes) -> OsString {
        OsString::from_vec(bytes.0)
    }
}

impl From<Bytes> for PathBuf {
    fn from(bytes: Bytes) -> PathBuf {
        PathBuf::from(OsString::from_vec(bytes.0))
    }
}

impl From<&OsString> for Secret {
    fn from(word: &OsString) -> Secret {
        Secret(word.as_bytes().to_vec())
    }
}

impl From<Secret> for OsString {
    fn from(secret: Secret) -> OsString {
        OsString::from_vec(secret.0)
    }
}

impl From<&String> for Text {
    fn from(text: &String) -> Text {
        Text(text.clone())
    }
}

impl From<Text> for String {
    fn from(text: Text) -> String {
        text.0
    }
}

/// A span as nanoseconds; one that is too long for them is refused when it is read.
pub(super) fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// Every item of a list as its wire type, or back.
pub(super) fn list<T>(items: impl IntoIterator<Item: Into<T>>) -> Vec<T> {
    items.into_iter().map(Into::into).collect()
}

/// Refuses lists whose keys are not in order, each once: a map would swallow the rest in silence.
pub(super) fn ascending<K: Ord>(
    name: &str,
    keys: impl IntoIterator<Item = K>,
) -> Result<(), String> {
    match keys.into_iter().is_sorted_by(|a, b| a < b) {
        true => Ok(()),
        false => Err(format!("`{name}` are not in order, each once")),
    }
}
