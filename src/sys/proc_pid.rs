//! Processes by their files in `/proc`; see proc(5). Nothing here waits for the process that it
//! asks about, as reading its command line may.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};

use crate::sys::process;

/// The pids of all processes that this one may see: with `hidepid`, only those that it may trace.
///
/// # Errors
/// Those of reading `/proc`, and one where that tells of another pid namespace: its numbers would
/// mean other processes here.
pub(super) fn pids() -> io::Result<Vec<i32>> {
    if !is_own()? {
        return Err(io::Error::other("/proc tells of another pid namespace"));
    }
    let mut pids = Vec::new();
    for entry in fs::read_dir("/proc")? {
        pids.extend(entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()));
    }
    Ok(pids)
}

/// Whether `/proc` tells of the pid namespace of this process.
fn is_own() -> io::Result<bool> {
    let own = fs::read_link("/proc/self")?;
    Ok(own.to_str().and_then(|pid| pid.parse().ok()) == Some(process::own_pid()))
}

/// The first `bytes_max` bytes of a file of a process; `None` when there is no such process, this
/// one may not see it, or `/proc` tells of another pid namespace.
///
/// # Errors
/// Those of open(2) and read(2) that say nothing of the process.
pub(super) fn read(pid: i32, name: &str, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
    if !is_own().unwrap_or(false) {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    let file = File::open(format!("/proc/{pid}/{name}"));
    match file.and_then(|file| file.take(bytes_max).read_to_end(&mut bytes)) {
        Ok(_) => Ok(Some(bytes)),
        Err(error) if process::is_no_such_process(&error) || is_hidden(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// `hidepid` answers EPERM or ENOENT by its level; ENOENT is also what a process that is gone has.
fn is_hidden(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_up_to_their_bound() {
        let own = process::own_pid();
        assert!(pids().unwrap().contains(&own));
        assert_eq!(read(own, "stat", 3).unwrap().unwrap().len(), 3);
        assert_eq!(read(i32::MAX, "stat", 3).unwrap(), None);
    }
}
