//! Sealed memfds: written once, then immutable for every process.

use std::io::{self, Seek, Write};
use std::os::fd::{AsFd, OwnedFd, RawFd};

use memfd::{FileSeal, MemfdOptions};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};

/// Creates a sealed memfd with these contents and its offset at the start; close-on-exec.
///
/// # Errors
/// Those of memfd_create(2), write(2), lseek(2) and fcntl(2).
pub fn sealed(name: &str, bytes: &[u8]) -> io::Result<OwnedFd> {
    let options = MemfdOptions::default().close_on_exec(true).allow_sealing(true);
    let memfd = options.create(name).map_err(io::Error::other)?;
    memfd.as_file().write_all(bytes)?;
    memfd.as_file().rewind()?;
    let seals = [FileSeal::SealShrink, FileSeal::SealGrow, FileSeal::SealWrite, FileSeal::SealSeal];
    memfd.add_seals(&seals).map_err(io::Error::other)?;
    Ok(memfd.into_file().into())
}

/// Whether a descriptor is a memfd sealed against writing, as [`sealed`] does.
pub fn is_sealed(memory: impl AsFd) -> bool {
    let sealed = fcntl(memory, FcntlArg::F_GET_SEALS).map(SealFlag::from_bits_retain);
    sealed.is_ok_and(|seals| seals.contains(SealFlag::F_SEAL_WRITE))
}

/// Reads a file from its start without moving its offset, which other processes share; at most
/// `max` bytes.
///
/// # Errors
/// Those of pread(2), such as EBADF and, for pipes, ESPIPE; `FileTooLarge` beyond `max`.
pub fn read_all(number: RawFd, max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut chunk = vec![0u8; 256 * 1024];
    loop {
        let offset = libc::off_t::try_from(bytes.len()).unwrap_or(libc::off_t::MAX);
        // SAFETY: `chunk` has room for its length and lives through the call; a closed descriptor
        // gives EBADF.
        let count = unsafe { libc::pread(number, chunk.as_mut_ptr().cast(), chunk.len(), offset) };
        match Errno::result(count) {
            Ok(0) => return Ok(bytes),
            Ok(count) => bytes.extend_from_slice(&chunk[..usize::try_from(count).unwrap_or(0)]),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        if bytes.len() > max {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
    }
}
