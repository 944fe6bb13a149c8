//! A lock on the folder of a file, held for the moment in which the file is looked at and replaced.

use std::fs::File;
use std::time::Duration;

use anyhow::Result;

use crate::sys::file;
use crate::sys::trusted_path::Entry;

/// Retries, and the pause between them, for the lock of a folder or the original's lock; a master
/// holds these for less than a millisecond.
const LOCK_TRIES: u32 = 500;
const LOCK_RETRY_PAUSE: Duration = Duration::from_millis(2);

/// Locks the folder of an entry until the returned file is dropped: two masters that find the same
/// stale file must not remove each other's new one. Best effort: a folder that cannot be read
/// cannot be locked, and a process that holds the lock for long is not a master.
pub fn lock_folder(entry: &Entry) -> Option<File> {
    let folder = entry.open_folder()?;
    retry_lock(|| Ok(file::try_lock(&folder)?.then_some(()))).ok()??;
    Some(folder)
}

/// Retries until `attempt` gets the lock; `None` when it is still held after about a second.
#[expect(clippy::disallowed_methods, reason = "a start waits a second at most")]
pub fn retry_lock<T>(mut attempt: impl FnMut() -> Result<Option<T>>) -> Result<Option<T>> {
    for _ in 0..LOCK_TRIES {
        if let Some(taken) = attempt()? {
            return Ok(Some(taken));
        }
        std::thread::sleep(LOCK_RETRY_PAUSE);
    }
    Ok(None)
}
