//! The names that ps(1) shows for this process.

use std::ffi::{CString, OsStr};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;

/// Replaces the command line that ps(1) shows, as far as the old one left room.
///
/// # Errors
/// Those of reading `/proc/self/stat`.
pub fn set(title: &str) -> io::Result<()> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let (start, end) = argument_area(&stat).ok_or(io::ErrorKind::InvalidData)?;
    let room = end.saturating_sub(start).saturating_sub(1);
    let title = &title.as_bytes()[..title.len().min(room)];
    // SAFETY: start..end is the memory where the kernel put this process's arguments, which stays
    // mapped and writable (proc(5), arg_start). `main` owns it: it has copied the arguments before,
    // and the process has one thread. The last byte stays zero, so every pointer of argv still
    // points at a terminated string.
    unsafe {
        let area = std::ptr::with_exposed_provenance_mut::<u8>(start);
        area.write_bytes(0, room + 1);
        area.copy_from_nonoverlapping(title.as_ptr(), title.len());
    }
    Ok(())
}

/// Sets the process name that ps(1) and pgrep(1) match; the kernel keeps 15 bytes of it.
pub fn set_process_name(name: &OsStr) {
    if let Ok(name) = CString::new(name.as_bytes()) {
        // SAFETY: the kernel reads a terminated string, which lives through the call.
        unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
    }
}

/// Fields 48 and 49 of `/proc/PID/stat`; the second field may contain anything, parentheses too.
fn argument_area(stat: &str) -> Option<(usize, usize)> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(48 - 3);
    let start: usize = fields.next()?.parse().ok()?;
    let end: usize = fields.next()?.parse().ok()?;
    (start != 0 && end > start).then_some((start, end))
}
