//! The payload: a list of sections, in the order of their rows.

use serde::Deserialize;

use crate::schema::codec;
use crate::schema::error::SchemaError;
use crate::schema::handover::Handover;
use crate::schema::section::Row;
use crate::schema::sections::SECTIONS;

/// How many sections a payload may have: the log names each that is skipped. There are about
/// twenty-five.
const SECTIONS_MAX: usize = 256;

/// How long a name may be, in bytes. It is logged and shown.
const NAME_MAX: usize = 40;

/// A section as it stands in the payload.
#[derive(Deserialize)]
pub(super) struct Entry<'p> {
    pub(super) name: &'p str,
    pub(super) is_critical: bool,
    pub(super) content: &'p [u8],
}

/// What was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// What the sections say.
    pub handover: Handover,
    /// The names of sections that this release does not know and may do without.
    pub skipped: Vec<String>,
}

/// The row of a name.
pub(super) fn row(name: &str) -> Option<(usize, &'static Row)> {
    SECTIONS.iter().enumerate().find(|(_, row)| row.name == name)
}

/// Writes what there is to say of a hand-over.
pub(super) fn write(handover: &Handover) -> Result<Vec<u8>, SchemaError> {
    let mut sections = Vec::new();
    for row in SECTIONS {
        sections.extend((row.write)(handover)?.map(|content| (row, content)));
    }
    let mut payload = codec::write(&sections.len()).map_err(no_list)?;
    for (row, content) in sections {
        let head = (row.name, row.is_critical, content.len());
        payload.extend(codec::write(&head).map_err(no_list)?);
        payload.extend(content);
    }
    Ok(payload)
}

/// The sections of a payload, whatever they are called and hold.
pub(super) fn entries(payload: &[u8]) -> Result<Vec<Entry<'_>>, SchemaError> {
    let entries: Vec<Entry<'_>> = codec::read(payload).map_err(no_list)?;
    if entries.len() > SECTIONS_MAX {
        return Err(no_list(format!("{} sections are too many", entries.len())));
    }
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_name = |name: &str| (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(is_letter);
    match entries.iter().all(|entry| is_name(entry.name)) {
        true => Ok(entries),
        false => Err(no_list("what should be the name of a section is none".to_owned())),
    }
}

/// The payload is no list of sections.
pub(super) fn no_list(why: String) -> SchemaError {
    SchemaError::Undecodable { section: None, why }
}

/// Reads a payload. Its hand-over written again is the same sections, those that are skipped left
/// aside.
pub(super) fn read(payload: &[u8]) -> Result<Decoded, SchemaError> {
    let entries = entries(payload)?;
    let (mut handover, mut skipped) = (Handover::blank(), Vec::new());
    let mut place = 0;
    for Entry { name, is_critical, content } in &entries {
        let found = row(name);
        let is_doubled = found.is_none() && skipped.iter().any(|skipped| skipped == name);
        // What is new stands at the end, so nothing that is known follows what is not.
        let is_late = found.is_some_and(|(at, _)| at < place || !skipped.is_empty());
        if is_doubled || is_late {
            return Err(SchemaError::Misplaced((*name).to_owned()));
        }
        match found {
            None if *is_critical => return Err(SchemaError::UnknownSection((*name).to_owned())),
            None => skipped.push((*name).to_owned()),
            Some((_, row)) if row.is_critical != *is_critical => {
                return Err(SchemaError::Mismarked(row.name));
            }
            Some((at, row)) => {
                (row.read)(content, &mut handover)?;
                place = at + 1;
            }
        }
    }
    verify_spelling(&entries, &handover)?;
    Ok(Decoded { handover, skipped })
}

/// Whether a master that has this hand-over writes these very sections.
fn verify_spelling(entries: &[Entry<'_>], handover: &Handover) -> Result<(), SchemaError> {
    for row in SECTIONS {
        let found = entries.iter().find(|entry| entry.name == row.name);
        let written = (row.write)(handover)?;
        match found {
            None if written.is_some() => return Err(SchemaError::Missing(row.name)),
            Some(entry) if written.as_deref() != Some(entry.content) => {
                return Err(SchemaError::OtherSpelling(row.name));
            }
            _ => {}
        }
    }
    Ok(())
}
