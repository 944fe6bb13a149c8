//! The hand-overs whose bytes are the golden files. No two numbers in one are the same without
//! need, so that swapped fields show.

mod alone;
mod busy;
mod moments;

use einhorn::schema::{Handover, encode};

pub(super) use alone::ALONE;
pub(crate) use alone::none;
pub(super) use busy::busy;
pub(super) use moments::{canary, fresh, leaving, mid_upgrade};

/// A golden file's name, what its header says besides, and its meaning.
pub(super) struct Golden {
    pub(super) name: &'static str,
    pub(super) rollback: Option<i32>,
    pub(super) report: Option<i32>,
    pub(super) handover: Handover,
}

impl Golden {
    /// The file.
    pub(super) fn bytes(&self) -> Vec<u8> {
        encode(&self.handover, self.rollback, self.report).expect(self.name)
    }
}

/// Each section alone, none of the optional ones, all of them that go together, and some moments
/// of a master.
pub(super) fn all() -> Vec<Golden> {
    let golden = |name, rollback, report, handover| Golden { name, rollback, report, handover };
    let mut all = vec![
        golden("none", None, None, none()),
        golden("busy", Some(1_021), None, busy()),
        golden("fresh", None, None, fresh()),
        golden("canary", Some(41), Some(42), canary()),
        golden("leaving", None, None, leaving()),
        golden("mid-upgrade", Some(41), Some(42), mid_upgrade()),
        golden("restoring", Some(41), None, moments::restoring()),
    ];
    all.extend(ALONE.iter().map(|(name, _)| golden(name, None, None, alone(name))));
    all
}

/// The sections of the release after this one, each alone, in the build that knows them.
pub(super) fn next() -> Vec<Golden> {
    let golden = |(name, change): &alone::Alone| {
        let mut handover = none();
        change(&mut handover);
        Golden { name, rollback: None, report: None, handover }
    };
    alone::NEXT.iter().map(golden).collect()
}

/// A master with nothing to say but the base and one section.
pub(super) fn alone(name: &str) -> Handover {
    let (_, change) = ALONE.iter().find(|(known, _)| *known == name).expect(name);
    let mut handover = none();
    change(&mut handover);
    handover
}
