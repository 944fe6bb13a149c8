//! The limit of open files across a hand-over: low for wrapper scripts, high enough for the carried
//! descriptors.

use std::os::fd::RawFd;

use anyhow::{Context, Result};

use crate::preflight::{ChangedLimit, PinnedFrom};
use crate::schema::{Handover, Origin};
use crate::sys::limit::{self, Limit};

/// How many more descriptors a process must be able to open above the carried ones.
const DESCRIPTORS_SPARE: u64 = 64;

/// The one limit in which workers differ from the master.
const OPEN_FILES: &str = "RLIMIT_NOFILE";

/// The limit of open files that the first image was started with; `None` if the carried descriptors
/// leave no room below it.
pub(in crate::master) fn original_limit(origin: &Origin, carried: &[RawFd]) -> Option<Limit> {
    let original = Some(origin.open_files()).filter(|limit| has_room(*limit, carried))?;
    // The hard limit of the running master may have been lowered, and only root can raise it.
    let hard = limit::open_files().map_or(original.hard, |now| now.hard.min(original.hard));
    Some(Limit::open_files(original.soft.min(hard), hard))
}

/// Whether carried descriptors leave room below a limit. The old and the new image compute this
/// from the same numbers.
fn has_room(limit: Limit, carried: &[RawFd]) -> bool {
    let highest = carried.iter().copied().max().and_then(|number| u64::try_from(number).ok());
    highest.unwrap_or(0) + DESCRIPTORS_SPARE < limit.soft
}

/// The limit for workers: what a wrapper has set, or the original one.
pub(super) fn current_limit(
    handover: &Handover,
    pinned_from: Option<&PinnedFrom>,
    is_rolled_back: bool,
) -> Limit {
    let original = handover.origin.open_files();
    let mut found = limit::open_files().unwrap_or(original);
    let mut pinned = pinned_from.iter().flat_map(|from| &from.limits);
    if let Some(changed) = pinned.find(|changed| changed.before.name == OPEN_FILES) {
        // The current hard limit stays higher as long as a roll-back is possible.
        found.hard = changed.hard;
    }
    // A wrapper did not set a limit that the master raised and could not lower for the exec.
    let carried: Vec<RawFd> = handover.numbers().collect();
    let was_kept_high = !has_room(original, &carried);
    let wanted = match is_rolled_back || was_kept_high {
        true => original,
        false => found,
    };
    // A wrapper may have lowered the hard limit, and only root can raise it again.
    Limit::open_files(wanted.soft.min(found.hard), wanted.hard.min(found.hard))
}

/// Lowers the pinned hard limits except that of open files, now that there is no roll-back.
///
/// # Errors
/// The first limit that could not be set.
pub(super) fn lower_hard_limits(pinned_from: &PinnedFrom) -> Result<()> {
    let others = pinned_from.limits.iter().filter(|changed| changed.before.name != OPEN_FILES);
    for ChangedLimit { before, hard } in others {
        let Some(limit) = Limit::named(&before.name, 0, 0) else { continue };
        let lowered = limit.current().and_then(|mut limit| {
            limit.hard = *hard;
            limit.set()
        });
        lowered.with_context(|| format!("Cannot set the hard limit {}", before.name))?;
    }
    Ok(())
}
