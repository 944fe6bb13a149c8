//! Bytes in the place of a state.
//!
//! Asserts that what is read is written as the same bytes, that everything else is refused in a
//! short sentence, and that whatever is read can be shown. Random bytes do not get past two
//! checksums, so the same input is tried once more as the payload of a good header.

use einhorn::schema::{Decoded, HEADER_BYTES, decode, describe, encode, read_header};

/// The longest sentence of a refusal: it names fields and numbers, and quotes nothing.
const SENTENCE_MAX: usize = 200;

/// Runs one input.
pub(crate) fn run(bytes: &[u8]) {
    judge(bytes);
    if let Some(mended) = mended(bytes) {
        judge(&mended);
    }
}

fn judge(bytes: &[u8]) {
    let (header, shown) = (read_header(bytes), describe(bytes));
    match decode(bytes) {
        Ok(Decoded { handover, skipped }) => {
            let header = header.expect("a state has a header");
            let again = encode(&handover, header.rollback, header.report);
            // What was skipped is gone, and nothing else.
            let again = again.expect("what was read can be written");
            let is_same = again == bytes || !skipped.is_empty() && again.len() < bytes.len();
            assert!(is_same, "read as something else: {again:?}");
            assert!(shown.is_ok_and(|text| text.contains("refused: null")));
        }
        Err(error) => {
            let sentence = error.to_string();
            assert!(sentence.len() <= SENTENCE_MAX, "{sentence:?}");
        }
    }
}

/// The input with a header that agrees with what follows.
fn mended(bytes: &[u8]) -> Option<Vec<u8>> {
    let (header, payload) = bytes.split_at_checked(HEADER_BYTES)?;
    let length = u64::try_from(payload.len()).expect("a length");
    let mut mended = b"\x89EINHRN\n".to_vec();
    mended.extend_from_slice(&[1, 0, 0, 0]);
    mended.extend_from_slice(&header[12..20]);
    mended.extend_from_slice(&length.to_le_bytes());
    mended.extend_from_slice(&crc32fast::hash(payload).to_le_bytes());
    mended.extend_from_slice(&crc32fast::hash(&mended).to_le_bytes());
    mended.extend_from_slice(payload);
    Some(mended)
}
