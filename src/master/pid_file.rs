//! The pid file (behaviour.md section 11).

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};

use crate::master::created_files::CreatedFiles;
use crate::master::folder_lock::lock_folder;
use crate::sys::file::{self, OwnedFile};
use crate::sys::trusted_path::{Access, Entry};

/// More than enough for a pid and white space around it, in bytes.
pub const PIDFILE_MAX: u64 = 64;

/// Writes the pid file atomically, and locks it for as long as the returned file stays open, so
/// that no other master takes it. `None` for `/dev/null`.
///
/// # Errors
/// It belongs to a running master, or cannot be written.
pub fn write_pid_file(path: &Path, pid: i32, created: &mut CreatedFiles) -> Result<Option<File>> {
    let shown = path.display();
    let failed = |error: io::Error| anyhow!("cannot write the pid file {shown}: {error}");
    let entry = Entry::followed(path).map_err(failed)?;
    if entry.is_null_device().map_err(failed)? {
        return Ok(None);
    }
    let _folder = lock_folder(&entry);
    if let Some(existing) = entry.open(Access::Read).map_err(failed)? {
        refuse_running_master(path, existing)?;
    }
    let write = |file: &mut File| {
        file::lock_for_writing(file)?;
        file.write_all(format!("{pid}\n").as_bytes())
    };
    let file = entry.replace(0o644, write).map_err(failed)?;
    created.add(OwnedFile::of(path, &file).map_err(failed)?);
    Ok(Some(file))
}

fn refuse_running_master(path: &Path, existing: File) -> Result<()> {
    let shown = path.display();
    // Any process that may read the file can take a read lock; only a master takes a write lock.
    let is_held = file::is_locked_for_writing(&existing);
    if !is_held.with_context(|| format!("cannot ask for locks on the pid file {shown}"))? {
        return Ok(());
    }
    let mut pid = String::new();
    // The lock counts, not the content.
    let _ = existing.take(PIDFILE_MAX).read_to_string(&mut pid);
    match pid.trim() {
        "" => bail!("the pid file {shown} is a lock of a running master"),
        pid => bail!("the pid file {shown} belongs to a running master (pid {pid})"),
    }
}
