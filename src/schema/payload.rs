//! The payload: a list of sections, in the order of [`SECTIONS`].

use serde::Deserialize;

use crate::schema::codec;
use crate::schema::error::SchemaError;
use crate::schema::handover::Handover;
use crate::schema::section::Row;
use crate::schema::sections::SECTIONS;

/// How many sections a payload may have, since the log names each skipped one. There are about
/// twenty-five.
const SECTIONS_MAX: usize = 256;

/// The maximum length of a section name in bytes. Names are logged.
const NAME_MAX: usize = 40;

/// An undecoded section of a payload.
#[derive(Deserialize)]
pub(super) struct Entry<'p> {
    pub(super) name: &'p str,
    pub(super) is_critical: bool,
    pub(super) content: &'p [u8],
}

/// A decoded payload.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// The hand-over.
    pub handover: Handover,
    /// The names of unknown sections that were skipped because they are not critical.
    pub skipped: Vec<String>,
}

/// Finds the row of a section by its name.
pub(super) fn row(name: &str) -> Option<(usize, &'static Row)> {
    SECTIONS.iter().enumerate().find(|(_, row)| row.name == name)
}

/// Encodes a hand-over as a payload.
pub(super) fn write(handover: &Handover) -> Result<Vec<u8>, SchemaError> {
    let mut sections = Vec::new();
    for row in SECTIONS {
        sections.extend((row.write)(handover)?.map(|content| (row, content)));
    }
    let mut payload = codec::write(&sections.len()).map_err(not_a_section_list)?;
    for (row, content) in sections {
        let head = (row.name, row.is_critical, content.len());
        payload.extend(codec::write(&head).map_err(not_a_section_list)?);
        payload.extend(content);
    }
    Ok(payload)
}

/// Splits a payload into sections, known or not.
pub(super) fn entries(payload: &[u8]) -> Result<Vec<Entry<'_>>, SchemaError> {
    let entries: Vec<Entry<'_>> = codec::read(payload).map_err(not_a_section_list)?;
    if entries.len() > SECTIONS_MAX {
        return Err(not_a_section_list(format!("{} sections are too many", entries.len())));
    }
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_name = |name: &str| (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(is_letter);
    match entries.iter().all(|entry| is_name(entry.name)) {
        true => Ok(entries),
        false => Err(not_a_section_list("a section name is invalid".to_owned())),
    }
}

/// The error of a payload that is not a list of sections.
pub(super) fn not_a_section_list(why: String) -> SchemaError {
    SchemaError::Undecodable { section: None, why }
}

/// Decodes a payload. Encoding the result again yields the same sections, except skipped ones.
pub(super) fn read(payload: &[u8]) -> Result<Decoded, SchemaError> {
    let entries = entries(payload)?;
    let (mut handover, mut skipped) = (Handover::blank(), Vec::new());
    let mut place = 0;
    for Entry { name, is_critical, content } in &entries {
        let found = row(name);
        let is_doubled = found.is_none() && skipped.iter().any(|skipped| skipped == name);
        // New sections are added at the end, so no known section can follow an unknown one.
        let is_late = found.is_some_and(|(at, _)| at < place || !skipped.is_empty());
        if is_doubled || is_late {
            return Err(SchemaError::Misplaced((*name).to_owned()));
        }
        match found {
            None if *is_critical => return Err(SchemaError::UnknownSection((*name).to_owned())),
            None => skipped.push((*name).to_owned()),
            Some((_, row)) if row.is_critical != *is_critical => {
                return Err(SchemaError::WrongCriticalFlag(row.name));
            }
            Some((at, row)) => {
                (row.read)(content, &mut handover)?;
                place = at + 1;
            }
        }
    }
    verify_canonical(&entries, &handover)?;
    Ok(Decoded { handover, skipped })
}

/// Checks that a master with this hand-over would write exactly these sections.
fn verify_canonical(entries: &[Entry<'_>], handover: &Handover) -> Result<(), SchemaError> {
    for row in SECTIONS {
        let found = entries.iter().find(|entry| entry.name == row.name);
        let written = (row.write)(handover)?;
        match found {
            None if written.is_some() => return Err(SchemaError::Missing(row.name)),
            Some(entry) if written.as_deref() != Some(entry.content) => {
                return Err(SchemaError::NotCanonical(row.name));
            }
            _ => {}
        }
    }
    Ok(())
}
