//! The frame of a state, taken apart and put together by hand: what the tests know of it is not
//! what the code knows.

use einhorn::schema::HEADER_BYTES;

/// A section as it stands in the payload.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Section {
    pub(super) name: String,
    pub(super) is_critical: bool,
    pub(super) content: Vec<u8>,
}

/// The sections of a state that is in order.
pub(super) fn sections(state: &[u8]) -> Vec<Section> {
    let mut rest = &state[HEADER_BYTES..];
    let count = number(&mut rest);
    let section = |_| Section {
        name: String::from_utf8(counted(&mut rest)).expect("a name"),
        is_critical: take(&mut rest, 1) == [1],
        content: counted(&mut rest),
    };
    let sections = (0..count).map(section).collect();
    assert!(rest.is_empty(), "{} bytes are left", rest.len());
    sections
}

fn take<'p>(rest: &mut &'p [u8], count: usize) -> &'p [u8] {
    let (taken, left) = rest.split_at(count);
    *rest = left;
    taken
}

fn number(rest: &mut &[u8]) -> usize {
    let bytes = take(rest, 8).try_into().expect("eight bytes");
    usize::try_from(u64::from_le_bytes(bytes)).expect("a length")
}

fn counted(rest: &mut &[u8]) -> Vec<u8> {
    let count = number(rest);
    take(rest, count).to_vec()
}

/// The names of sections, as they follow each other.
pub(super) fn names(state: &[u8]) -> Vec<String> {
    sections(state).into_iter().map(|section| section.name).collect()
}

/// A payload of sections.
pub(super) fn payload(sections: &[Section]) -> Vec<u8> {
    let mut payload = (sections.len() as u64).to_le_bytes().to_vec();
    for Section { name, is_critical, content } in sections {
        payload.extend((name.len() as u64).to_le_bytes());
        payload.extend(name.as_bytes());
        payload.push(u8::from(*is_critical));
        payload.extend((content.len() as u64).to_le_bytes());
        payload.extend(content);
    }
    payload
}

/// A payload in a good envelope.
pub(super) fn sealed(payload: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x89EINHRN\n\x01\x00".to_vec();
    // No flags, no image to roll back to, nobody to report to.
    bytes.extend_from_slice(&[0, 0, 255, 255, 255, 255, 255, 255, 255, 255]);
    bytes.extend_from_slice(&(payload.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(payload).to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(payload);
    mend_header(bytes)
}

/// The header's checksum as its fields have it.
pub(super) fn mend_header(mut bytes: Vec<u8>) -> Vec<u8> {
    let crc = crc32fast::hash(&bytes[..32]);
    bytes[32..HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
    bytes
}
