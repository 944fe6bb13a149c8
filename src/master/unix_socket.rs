//! UNIX sockets that have a file: bound where a stale one was, and what keeps them from it.

use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::path::Path;

use anyhow::{Result, anyhow, bail};

use crate::master::created_files::CreatedFiles;
use crate::sys::file::OwnedFile;
use crate::sys::socket;
use crate::sys::trusted_path::{self, Entry};

/// Binds a UNIX socket that does not listen yet. Returns it and its open file.
///
/// # Errors
/// Those of [`socket::bind_unix`] and [`socket::file_of`]; if another process has moved the new
/// file, it is left behind.
pub fn bind_unix(
    path: &Path,
    entry: &Entry,
    mode: u32,
    created: &mut CreatedFiles,
) -> io::Result<(OwnedFd, OwnedFd)> {
    let socket = socket::bind_unix(&entry.path_to_bind(path), mode)?;
    let file = socket::file_of(&socket, entry)?;
    created.add(OwnedFile::of(path, &file)?);
    Ok((socket, file))
}

/// Removes a stale socket file, one that no process listens on.
///
/// # Errors
/// Another process listens on it, or it is not a socket.
pub fn replace_stale_socket(path: &Path, entry: &Entry) -> Result<()> {
    let failed = |error: io::Error| anyhow!("{}", explain_path_error(&error));
    let Some(file) = entry.open_path().map_err(failed)? else { return Ok(()) };
    if !trusted_path::is_socket_file(&file).map_err(failed)? {
        bail!("a file that is not a socket has this name; it was left alone");
    }
    if socket::has_listener(&file, path).map_err(failed)? {
        bail!("another process is listening on it");
    }
    match OwnedFile::of(path, &file)?.is_at(entry)? {
        true => Ok(entry.remove()?),
        false => Ok(()),
    }
}

/// Explains an error about the path of a UNIX socket.
pub fn explain_path_error(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "its folder does not exist".to_owned(),
        ErrorKind::PermissionDenied if error.raw_os_error().is_some() => {
            "permission denied".to_owned()
        }
        ErrorKind::ReadOnlyFilesystem => "its file system is read-only".to_owned(),
        _ if error.raw_os_error().is_some_and(is_name_too_long) => {
            "its path is longer than the 107 bytes that a socket's may have".to_owned()
        }
        _ => error.to_string(),
    }
}

fn is_name_too_long(errno: i32) -> bool {
    io::Error::from_raw_os_error(errno).kind() == ErrorKind::InvalidFilename
}
