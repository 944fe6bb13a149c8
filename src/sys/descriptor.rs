//! Descriptors: who inherits them.

use std::io;
use std::os::fd::RawFd;

use nix::errno::Errno;

/// Marks every descriptor from 3 up close-on-exec: what the caller of the master left open is not
/// meant for workers.
///
/// # Errors
/// Those of close_range(2) other than its absence, then those of reading `/proc/self/fd`.
pub fn close_inherited_on_exec() -> io::Result<()> {
    let flag = libc::c_long::from(libc::CLOSE_RANGE_CLOEXEC);
    // SAFETY: close_range with CLOEXEC only sets flags; it reads no memory of ours.
    let answer = unsafe {
        libc::syscall(libc::SYS_close_range, 3 as libc::c_long, libc::c_long::from(u32::MAX), flag)
    };
    if answer == 0 {
        return Ok(());
    }
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let name = entry?.file_name();
        let number: Option<RawFd> = name.to_str().and_then(|name| name.parse().ok());
        if let Some(number) = number.filter(|number| *number >= 3) {
            set_close_on_exec(number)?;
        }
    }
    Ok(())
}

fn set_close_on_exec(number: RawFd) -> io::Result<()> {
    // SAFETY: fcntl(F_SETFD) changes a flag of the descriptor table only; a number that is not
    // open is answered with EBADF.
    let answer = unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
    match Errno::result(answer) {
        // The descriptor that read the folder is closed by now.
        Ok(_) | Err(Errno::EBADF) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
