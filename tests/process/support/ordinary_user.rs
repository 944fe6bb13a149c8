//! An ordinary user, whoever runs the tests: what root may do, is not refused to root.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::rig::Rig;

/// The user and group that own nothing, on every Linux.
pub(crate) const NOBODY: u32 = 65534;

/// Whether the tests run as root.
pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// The same, saying that a test is skipped when they do not.
pub(crate) fn needs_root() -> bool {
    if !is_root() {
        println!("skipped: only root can do this");
    }
    is_root()
}

/// Lets everybody use the folder of a rig, and puts a program there where everybody can execute
/// it. Answers its path.
pub(crate) fn shared(rig: &Rig, program: &str) -> PathBuf {
    fs::set_permissions(rig.path(""), Permissions::from_mode(0o777)).unwrap();
    let copy = rig.path(Path::new(program).file_name().unwrap().to_str().unwrap());
    if !copy.exists() {
        // A link is made at once, where it can be made at all.
        fs::hard_link(program, &copy).or_else(|_| fs::copy(program, &copy).map(drop)).unwrap();
    }
    copy
}

/// A program to be run by an ordinary user, in the folder of the rig.
pub(crate) fn command(rig: &Rig, program: &str, arguments: &[&str]) -> Command {
    let mut command = rig.command(shared(rig, program));
    command.args(arguments);
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}
