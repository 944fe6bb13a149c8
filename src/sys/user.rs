//! Users and groups.

use std::io;
use std::path::Path;

use nix::unistd::{Gid, Group, Uid, User, chown};

/// The effective user id of this process.
pub fn effective_id() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// The id of a user given by name or number; `None` when there is no such user.
///
/// # Errors
/// Those of getpwnam_r(3).
pub fn user_id(name: &str) -> io::Result<Option<u32>> {
    if let Ok(number) = name.parse() {
        return Ok(Some(number));
    }
    Ok(User::from_name(name)?.map(|user| user.uid.as_raw()))
}

/// The id of a group given by name or number; `None` when there is no such group.
///
/// # Errors
/// Those of getgrnam_r(3).
pub fn group_id(name: &str) -> io::Result<Option<u32>> {
    if let Ok(number) = name.parse() {
        return Ok(Some(number));
    }
    Ok(Group::from_name(name)?.map(|group| group.gid.as_raw()))
}

/// Gives a file to a user and a group; what is `None` stays.
///
/// # Errors
/// Those of chown(2): only root may give files away.
pub fn give(path: &Path, user: Option<u32>, group: Option<u32>) -> io::Result<()> {
    Ok(chown(path, user.map(Uid::from_raw), group.map(Gid::from_raw))?)
}
