//! Users and groups.

use std::io;
use std::os::fd::AsFd;

use nix::fcntl::AtFlags;
use nix::unistd::{Gid, Group, Uid, User, fchownat};

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
        return valid_id(number);
    }
    Ok(User::from_name(name)?.map(|user| user.uid.as_raw()))
}

/// The id of a group given by name or number; `None` when there is no such group.
///
/// # Errors
/// Those of getgrnam_r(3).
pub fn group_id(name: &str) -> io::Result<Option<u32>> {
    if let Ok(number) = name.parse() {
        return valid_id(number);
    }
    Ok(Group::from_name(name)?.map(|group| group.gid.as_raw()))
}

/// Any id except the one that means "leave it as it is" to chown(2).
fn valid_id(number: u32) -> io::Result<Option<u32>> {
    match number {
        u32::MAX => {
            let largest = u32::MAX - 1;
            let why = format!("{number} is not a user or group id; the largest is {largest}");
            Err(io::Error::other(why))
        }
        number => Ok(Some(number)),
    }
}

/// Changes the owner of an open file, even one opened with `O_PATH`; `None` leaves one as it is.
///
/// # Errors
/// Those of fchownat(2), such as EPERM: only root may give files away.
pub fn chown(file: impl AsFd, user: Option<u32>, group: Option<u32>) -> io::Result<()> {
    let (user, group) = (user.map(Uid::from_raw), group.map(Gid::from_raw));
    Ok(fchownat(file, "", user, group, AtFlags::AT_EMPTY_PATH)?)
}
