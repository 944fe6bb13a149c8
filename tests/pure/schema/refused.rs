//! The bytes that no release may take for a state, with the error that each must give.

mod base;
mod optional;
mod parts;
mod sections;
mod stopping;

use super::bytes::{Section, sealed, sections};

/// A file that must be refused.
pub(super) struct Refused {
    pub(super) name: &'static str,
    /// The variant of `SchemaError`.
    pub(super) expect: &'static str,
    /// Why the bytes are what they are.
    pub(super) comment: &'static str,
    pub(super) bytes: Vec<u8>,
}

/// All of them.
pub(super) fn all() -> Vec<Refused> {
    [base::all(), sections::all(), optional::all(), stopping::all(), parts::all()]
        .into_iter()
        .flatten()
        .collect()
}

fn refused(
    name: &'static str,
    expect: &'static str,
    comment: &'static str,
    bytes: Vec<u8>,
) -> Refused {
    Refused { name, expect, comment, bytes }
}

/// One that can be read, and says what cannot be.
fn inconsistent(name: &'static str, comment: &'static str, bytes: Vec<u8>) -> Refused {
    refused(name, "Inconsistent", comment, bytes)
}

/// One that says in other bytes what a master writes in its own way.
fn spelled(name: &'static str, comment: &'static str, bytes: Vec<u8>) -> Refused {
    refused(name, "NotCanonical", comment, bytes)
}

/// Numbers as they are written.
fn u32s(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

/// Numbers as they are written.
fn u64s(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

/// A span as it is written.
fn span(seconds: u64, nanoseconds: u32) -> Vec<u8> {
    [u64s(&[seconds]), u32s(&[nanoseconds])].concat()
}

/// Bytes behind their count.
fn counted(bytes: &[u8]) -> Vec<u8> {
    [&u64s(&[bytes.len() as u64]), bytes].concat()
}

/// Other bytes in the place of some that stand in a section once, with lengths and checksums that
/// agree.
fn replaced(state: &[u8], section: &str, from: &[Vec<u8>], to: &[Vec<u8>]) -> Vec<u8> {
    let (from, to) = (from.concat(), to.concat());
    with_section(state, section, |section| {
        let content = &mut section.content;
        let found: Vec<usize> =
            (0..content.len()).filter(|at| content[*at..].starts_with(&from)).collect();
        let [at] = found[..] else { panic!("{}: {from:?} is found at {found:?}", section.name) };
        content.splice(at..at + from.len(), to);
    })
}

/// A state of which one section is changed.
fn with_section(state: &[u8], name: &str, change: impl FnOnce(&mut Section)) -> Vec<u8> {
    with_sections(state, |sections| {
        change(sections.iter_mut().find(|section| section.name == name).expect(name));
    })
}

/// A state of which the list of sections is changed.
fn with_sections(state: &[u8], change: impl FnOnce(&mut Vec<Section>)) -> Vec<u8> {
    let mut sections = sections(state);
    change(&mut sections);
    sealed(&super::bytes::payload(&sections))
}
