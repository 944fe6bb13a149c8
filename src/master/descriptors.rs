//! Descriptors and files as the schema describes them for a hand-over.

use std::io;
use std::os::fd::RawFd;

use anyhow::{Result, anyhow};

use crate::schema::{Carried, CarriedFile, CarriedPipe, Handover, Identity};
use crate::state::release;
use crate::sys::descriptor;
use crate::sys::file::OwnedFile;

/// The identity of an open descriptor, as a type of the schema.
///
/// # Errors
/// Those of fstat(2).
pub fn identity(number: RawFd) -> io::Result<Identity> {
    let found = descriptor::identity(number)?;
    Ok(Identity {
        device: found.device,
        inode: found.inode,
        file_type: found.file_type,
        cookie: found.cookie,
        is_listening: found.is_listening,
    })
}

/// A file that the master owns, for the next image.
pub fn carried_file(file: &OwnedFile) -> CarriedFile {
    let (device, inode) = file.device_and_inode();
    CarriedFile { path: file.path().to_owned(), device, inode }
}

/// A file that the previous image owned.
pub fn owned_file(file: CarriedFile) -> OwnedFile {
    OwnedFile::from_device_and_inode(&file.path, file.device, file.inode)
}

/// Verifies that every descriptor in the state is open and still the same file.
///
/// # Errors
/// The first descriptor that is missing or another file, with its role.
pub fn verify_descriptors(handover: &Handover) -> Result<()> {
    for Carried { role, number, identity } in &handover.descriptors {
        verify(*number, *identity, || format!("{role:?}"))?;
    }
    for CarriedPipe { pid, number, identity, .. } in &handover.worker_stderr {
        verify(*number, *identity, || format!("standard error of {pid}"))?;
    }
    Ok(())
}

fn verify(number: RawFd, expected: Identity, what: impl Fn() -> String) -> Result<()> {
    match identity(number) {
        Ok(found) if found == expected => Ok(()),
        Ok(_) => Err(anyhow!("descriptor {number} ({}) is something else", what())),
        Err(error) => Err(anyhow!("descriptor {number} ({}): {error}", what())),
    }
}

/// Log line for an optional section of the state that this release does not know.
pub fn skipped_section_note(name: &str) -> String {
    format!("The state has {name:?}, which einhorn {} does not know: it is left out", release())
}
