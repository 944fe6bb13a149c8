//! The hand-overs whose bytes are the golden files. No two numbers in one are the same without
//! need, so that swapped fields show.

pub(super) mod v1;
pub(super) mod v2;

use einhorn::schema::{Handover, encode};

use super::VERSIONS;

/// A golden file's version and name, what its header says besides, and its meaning.
pub(super) struct Golden {
    pub(super) version: u16,
    pub(super) name: &'static str,
    pub(super) rollback: Option<i32>,
    pub(super) report: Option<i32>,
    pub(super) handover: Handover,
}

impl Golden {
    /// The file.
    pub(super) fn bytes(&self) -> Vec<u8> {
        encode(&self.handover, self.version, self.rollback, self.report).expect(self.name)
    }
}

/// All of them, by version.
pub(super) fn everything() -> impl Iterator<Item = Golden> {
    VERSIONS.iter().flat_map(|version| all(*version))
}

/// All of a version, by name.
pub(super) fn all(version: u16) -> Vec<Golden> {
    if version == 1 { v1::all() } else { v2::all() }
}

/// A master of which a version says as little as can be.
pub(super) fn fresh(version: u16) -> Handover {
    if version == 1 { v1::fresh() } else { v2::fresh() }
}

/// One of which it says as much as can be.
pub(super) fn busy(version: u16) -> Handover {
    if version == 1 { v1::busy() } else { v2::busy() }
}
