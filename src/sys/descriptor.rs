//! Descriptors: inheriting, identifying and opening them.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;

/// The open descriptors from 3 up, lowest first.
///
/// # Errors
/// Those of reading `/proc/self/fd`.
pub fn open_numbers() -> io::Result<Vec<RawFd>> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let name = entry?.file_name();
        let number: Option<RawFd> = name.to_str().and_then(|name| name.parse().ok());
        numbers.extend(number.filter(|number| *number >= 3));
    }
    // The descriptor that read the folder is closed by now.
    numbers.retain(|number| is_open(*number));
    numbers.sort_unstable();
    Ok(numbers)
}

fn is_open(number: RawFd) -> bool {
    // SAFETY: F_GETFD reads a flag of the descriptor table only.
    unsafe { libc::fcntl(number, libc::F_GETFD) >= 0 }
}

/// What identifies an open file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// `st_dev`.
    pub device: u64,
    /// `st_ino`.
    pub inode: u64,
    /// The type bits of `st_mode`.
    pub file_type: u32,
    /// `SO_COOKIE` of a socket; 0 for anything else.
    pub cookie: u64,
    /// Whether it is a listening socket.
    pub is_listening: bool,
}

/// The identity of an open descriptor.
///
/// # Errors
/// Those of fstat(2), such as EBADF for a closed descriptor.
pub fn identity(number: RawFd) -> io::Result<Identity> {
    // SAFETY: an all-zero stat is a valid one, and fstat only writes to it.
    let stat = unsafe {
        let mut stat: libc::stat = std::mem::zeroed();
        Errno::result(libc::fstat(number, &mut stat))?;
        stat
    };
    let file_type = stat.st_mode & libc::S_IFMT;
    let is_socket = file_type == libc::S_IFSOCK;
    Ok(Identity {
        device: stat.st_dev,
        inode: stat.st_ino,
        file_type,
        cookie: if is_socket { socket_option(number, libc::SO_COOKIE) } else { 0 },
        is_listening: is_socket && socket_option(number, libc::SO_ACCEPTCONN) != 0,
    })
}

/// Whether a descriptor is a pipe.
pub fn is_pipe(number: RawFd) -> bool {
    identity(number).is_ok_and(|found| found.file_type == libc::S_IFIFO)
}

/// An integer option of a socket; 0 where the kernel does not know it.
fn socket_option(number: RawFd, option: libc::c_int) -> u64 {
    let mut value = 0u64;
    let mut size = libc::socklen_t::try_from(size_of::<u64>()).unwrap_or(8);
    // SAFETY: the kernel writes at most `size` bytes to `value`, which has them.
    let answer = unsafe {
        libc::getsockopt(number, libc::SOL_SOCKET, option, (&raw mut value).cast(), &mut size)
    };
    if answer == 0 { value } else { 0 }
}

/// Takes ownership of an inherited descriptor, and makes it close-on-exec.
///
/// The caller must claim each descriptor once only, and not use its number otherwise.
pub fn claim(number: RawFd) -> OwnedFd {
    // A closed descriptor was refused before, by its identity.
    let _ = set_close_on_exec(number);
    // SAFETY: see above: the descriptor is open, and nothing else owns it.
    unsafe { OwnedFd::from_raw_fd(number) }
}

/// Borrows an inherited descriptor that is not claimed yet.
pub fn borrow<'a>(number: RawFd) -> BorrowedFd<'a> {
    // SAFETY: the caller has verified that the descriptor is open, and closes it only after
    // claiming it.
    unsafe { BorrowedFd::borrow_raw(number) }
}

/// This process's own executable, by its inode, for executing it again.
///
/// # Errors
/// Those of open(2), such as ENOENT without `/proc`.
pub fn own_image() -> io::Result<OwnedFd> {
    open_path(Path::new("/proc/self/exe"))
}

/// Opens a file with `O_PATH`, for executing it by its inode even if the name changes.
///
/// # Errors
/// Those of open(2).
pub fn open_path(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
    Ok(nix::fcntl::open(path, flags, nix::sys::stat::Mode::empty())?)
}

/// A pipe: the reading end is non-blocking, both are close-on-exec.
///
/// # Errors
/// Those of pipe2(2).
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    nix::fcntl::fcntl(&read, nix::fcntl::FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok((read, write))
}

/// Reads what is available; returns 0 at end of file.
///
/// # Errors
/// Those of read(2); `WouldBlock` when nothing is available.
pub fn read(descriptor: impl AsFd, bytes: &mut [u8]) -> io::Result<usize> {
    Ok(nix::unistd::read(descriptor, bytes)?)
}

/// Makes every descriptor from 3 up close-on-exec: what the master's parent left open is not meant
/// for workers.
///
/// # Errors
/// Those of reading `/proc/self/fd` and fcntl(2), where close_range(2) fails.
pub fn close_inherited_on_exec() -> io::Result<()> {
    let flag = libc::c_long::from(libc::CLOSE_RANGE_CLOEXEC);
    // SAFETY: close_range with CLOEXEC only sets flags; it reads no memory of ours.
    let answer = unsafe {
        libc::syscall(libc::SYS_close_range, 3 as libc::c_long, libc::c_long::from(u32::MAX), flag)
    };
    if answer == 0 {
        return Ok(());
    }
    open_numbers()?.into_iter().try_for_each(set_close_on_exec)
}

/// Makes a descriptor close-on-exec; a closed one is not an error.
fn set_close_on_exec(number: RawFd) -> io::Result<()> {
    // SAFETY: fcntl(F_SETFD) changes a flag of the descriptor table only; a closed descriptor gives
    // EBADF.
    let answer = unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
    match Errno::result(answer) {
        // The descriptor that read the folder is closed by now.
        Ok(_) | Err(Errno::EBADF) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
