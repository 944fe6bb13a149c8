//! pidfds, which report the exit of a child even if another program reaped it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::sys::process::{WaitStatus, decode};

/// `struct pidfd_info` of linux/pidfd.h, its first version of 64 bytes.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Info {
    mask: u64,
    cgroup: u64,
    ids: [u32; 11],
    exit_code: i32,
}

/// `PIDFD_INFO_EXIT`: requests the exit status, and is set in the reply if it is there. Linux 6.15
/// and later.
const INFO_EXIT: u64 = 1 << 3;

/// `PIDFD_GET_INFO`, `_IOWR(0xFF, 11, struct pidfd_info)`.
const GET_INFO: libc::c_ulong = 0xC040_FF0B;

/// What a pidfd says about a process's exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitState {
    /// Running, or a zombie.
    NotReaped,
    /// Reaped; its status is known on newer kernels only.
    Reaped(Option<WaitStatus>),
}

/// Opens a pidfd of a child that is not reaped yet; close-on-exec.
///
/// # Errors
/// Those of pidfd_open(2).
pub fn open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: pidfd_open reads no memory, and returns a new descriptor that nothing else owns.
    unsafe {
        let number = libc::syscall(libc::SYS_pidfd_open, pid, 0);
        Errno::result(number)?;
        Ok(OwnedFd::from_raw_fd(i32::try_from(number).unwrap_or(-1)))
    }
}

/// Whether a process was reaped, and how it ended.
///
/// # Errors
/// Those of poll(2).
pub fn exit_state(pidfd: impl AsFd) -> io::Result<ExitState> {
    let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO)?;
    let flags = fds[0].revents().unwrap_or(PollFlags::empty());
    if !flags.contains(PollFlags::POLLHUP) {
        return Ok(ExitState::NotReaped);
    }
    let mut info = Info { mask: INFO_EXIT, ..Info::default() };
    // SAFETY: the kernel writes at most the size that GET_INFO names, which is that of `info`.
    let answer = unsafe { libc::ioctl(pidfd.as_fd().as_raw_fd(), GET_INFO as _, &mut info) };
    let is_known = answer == 0 && info.mask & INFO_EXIT != 0;
    Ok(ExitState::Reaped(is_known.then(|| decode(info.exit_code))))
}

const _: () = assert!(size_of::<Info>() == 64);
