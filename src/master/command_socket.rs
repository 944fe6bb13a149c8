//! The command socket (behaviour.md sections 7 and 11).

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use anyhow::{Context, Result, anyhow};

use crate::master::created_files::CreatedFiles;
use crate::master::folder_lock::lock_folder;
use crate::master::unix_socket::{bind_unix, explain_path_error, replace_stale_socket};
use crate::sys::socket;
use crate::sys::trusted_path::Entry;

/// Backlog of the command socket: a whole fleet may ACK while the master is busy for a moment.
pub const COMMAND_BACKLOG: u32 = 1024;

/// Binds the command socket; its lock must be held. From the moment its file exists, only its owner
/// may connect.
///
/// # Errors
/// Another process listens on it, another kind of file has its name, or it cannot be bound.
pub fn bind_command_socket(path: &Path, created: &mut CreatedFiles) -> Result<OwnedFd> {
    let hint = "choose another with -d";
    let shown = path.display();
    let found = Entry::at(path).map_err(|error| anyhow!("{}", explain_path_error(&error)));
    let entry = found.with_context(|| format!("cannot take the command socket {shown}; {hint}"))?;
    let _folder = lock_folder(&entry);
    replace_stale_socket(path, &entry)
        .with_context(|| format!("cannot take the command socket {shown}; {hint}"))?;
    let mut bind = || -> io::Result<OwnedFd> {
        let (socket, file) = bind_unix(path, &entry, 0o600, created)?;
        // The umask may have cleared bits that the owner needs.
        socket::set_mode(&file, path, 0o600)?;
        socket::start_listening(&socket, COMMAND_BACKLOG)?;
        Ok(socket)
    };
    bind().map_err(|error| {
        anyhow!("cannot bind the command socket {shown}: {}; {hint}", explain_path_error(&error))
    })
}
