//! Bytes in the place of a state.
//!
//! Asserts that what is read is written as the same bytes, that everything else is refused in a
//! short sentence, and that whatever is read can be shown. Random bytes do not get past two
//! checksums, so the same input is tried once more for each version as the payload of a good
//! header.

use einhorn::schema::{HEADER_BYTES, decode, describe, encode, read_header};

/// The longest sentence of a refusal: it names fields and numbers, and quotes nothing.
const SENTENCE_MAX: usize = 200;

/// Runs one input.
pub(crate) fn run(bytes: &[u8]) {
    judge(bytes);
    for version in [1, 2] {
        if let Some(mended) = mended(version, bytes) {
            judge(&mended);
        }
    }
}

fn judge(bytes: &[u8]) {
    let (header, shown) = (read_header(bytes), describe(bytes));
    match decode(bytes) {
        Ok(handover) => {
            let header = header.expect("a state has a header");
            let again = encode(&handover, header.version, header.rollback, header.report);
            assert!(again.as_deref() == Ok(bytes), "read as something else: {again:?}");
            assert!(shown.is_ok_and(|text| text.contains("refused: null")));
        }
        Err(error) => {
            let sentence = error.to_string();
            assert!(sentence.len() <= SENTENCE_MAX, "{sentence:?}");
        }
    }
}

/// The input with a header of a version that agrees with what follows.
fn mended(version: u16, bytes: &[u8]) -> Option<Vec<u8>> {
    let (header, payload) = bytes.split_at_checked(HEADER_BYTES)?;
    let length = u64::try_from(payload.len()).expect("a length");
    let mut mended = b"\x89EINHRN\n".to_vec();
    mended.extend_from_slice(&version.to_le_bytes());
    mended.extend_from_slice(&[0, 0]);
    mended.extend_from_slice(&header[12..20]);
    mended.extend_from_slice(&length.to_le_bytes());
    mended.extend_from_slice(&crc32fast::hash(payload).to_le_bytes());
    mended.extend_from_slice(&crc32fast::hash(&mended).to_le_bytes());
    mended.extend_from_slice(payload);
    Some(mended)
}
