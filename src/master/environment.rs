//! What the master was started with, which it hands on to workers and to its next image.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use crate::schema::Origin;
use crate::sys::limit::OpenFiles;
use crate::sys::signal::Mask;

/// What the master was started with, which it hands on to workers and to its next image.
#[derive(Debug)]
pub struct Inheritance {
    origin: Origin,
}

impl Inheritance {
    /// What this process was started with.
    pub fn new(origin: Origin) -> Inheritance {
        let mut origin = origin;
        origin.environment.retain(|(name, _)| !is_ours(name));
        Inheritance { origin }
    }

    /// What this process was started with.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The limit of open files that this process was started with.
    pub fn open_files(&self) -> OpenFiles {
        OpenFiles { soft: self.origin.open_files_soft, hard: self.origin.open_files_hard }
    }

    /// The mask that this process was started with.
    pub fn mask(&self) -> Mask {
        Mask::from_bits(self.origin.blocked_signals)
    }

    /// Where a bare name is looked up.
    pub fn path(&self) -> Option<&OsStr> {
        let path = self.origin.environment.iter().find(|(name, _)| name == "PATH");
        path.map(|(_, value)| value.as_os_str())
    }

    /// The environment for the next image: the original one without the variables to drop.
    pub fn environment_without(&self, dropped: &[OsString]) -> Vec<CString> {
        let kept = self.origin.environment.iter().filter(|(name, _)| !dropped.contains(name));
        kept.filter_map(|(name, value)| variable(name, value).ok()).collect()
    }

    /// The original environment with further variables, which replace those of the same name.
    pub fn environment_with(&self, added: &[(OsString, OsString)]) -> Vec<CString> {
        let replaced: Vec<OsString> = added.iter().map(|(name, _)| name.clone()).collect();
        let mut environment = self.environment_without(&replaced);
        environment.extend(added.iter().filter_map(|(name, value)| variable(name, value).ok()));
        environment
    }
}

/// `NAME=value`.
///
/// # Errors
/// It has a zero byte.
pub fn variable(name: &OsStr, value: &OsStr) -> Result<CString, std::ffi::NulError> {
    // With room for the zero at the end: a start makes every variable anew.
    let mut bytes = Vec::with_capacity(name.len() + value.len() + 2);
    bytes.extend_from_slice(name.as_bytes());
    bytes.push(b'=');
    bytes.extend_from_slice(value.as_bytes());
    CString::new(bytes)
}

/// Whether einhorn itself sets a variable: a master that is a worker of another must not hand on
/// descriptors that only it has.
pub fn is_ours(name: &OsStr) -> bool {
    const NAMES: [&str; 5] = [
        "EINHORN_MASTER_PID",
        "EINHORN_SOCK_PATH",
        "EINHORN_SOCK_FD",
        "EINHORN_CHILD_INDEX",
        "EINHORN_FDS",
    ];
    let families = ["EINHORN_FD_", "EINHORN_CANARY_"];
    let is_in_family = |name: &str| families.iter().any(|family| name.starts_with(family));
    name.to_str().is_some_and(|name| NAMES.contains(&name) || is_in_family(name))
}
