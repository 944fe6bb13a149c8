//! A state for people to read.

use serde::{Deserialize, Serialize};

#[cfg(feature = "next")]
use crate::schema::v3;
use crate::schema::{Header, SchemaError, adopt, codec, envelope, v1, v2};

/// What a person sees: the header, why a master refuses it if it does, every field by its name.
#[derive(Serialize)]
struct Description<T> {
    schema: u16,
    rollback: Option<i32>,
    report: Option<i32>,
    payload_bytes: u64,
    refused: Option<String>,
    handover: T,
}

/// Every field of a state with its name and value, as YAML. The values of environment variables are
/// left out: they hold secrets. A state that can be read and is inconsistent is shown as well, with
/// the reason for which a master refuses it.
///
/// # Errors
/// The header or the structure of the payload is not what it should be.
pub fn describe(bytes: &[u8]) -> Result<String, SchemaError> {
    let (header, payload) = envelope::open(bytes)?;
    match header.version {
        1 => text::<v1::Handover>(&header, payload),
        2 => text::<v2::Handover>(&header, payload),
        #[cfg(feature = "next")]
        3 => text::<v3::Handover>(&header, payload),
        other => Err(SchemaError::UnknownVersion(other)),
    }
}

/// The text of a payload whose wire struct is `T`.
fn text<'p, T>(header: &Header, payload: &'p [u8]) -> Result<String, SchemaError>
where
    T: Serialize + Deserialize<'p>,
{
    let handover: T = codec::read(payload)?;
    let refused = adopt(header, payload).err().map(|error| error.to_string());
    let Header { version, flags: _, rollback, report, payload_length, payload_crc: _ } = *header;
    let payload_bytes = payload_length;
    let description =
        Description { schema: version, rollback, report, payload_bytes, refused, handover };
    serde_yaml::to_string(&description).map_err(|error| SchemaError::Undecodable(error.to_string()))
}
