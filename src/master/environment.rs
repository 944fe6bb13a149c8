//! The environment that the master was started with, and what else workers and the next image
//! inherit from its start.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use crate::schema::Origin;
use crate::sys::limit::Limit;
use crate::sys::signal::Mask;

/// Variables as names and values, in order.
pub type Environment = [(OsString, OsString)];

/// The value of a variable.
pub fn variable<'e>(environment: &'e Environment, name: &str) -> Option<&'e OsStr> {
    let found = environment.iter().find(|(known, _)| known == name);
    found.map(|(_, value)| value.as_os_str())
}

/// An environment without the variables that einhorn itself sets.
pub fn without_own_variables(environment: &Environment) -> Vec<(OsString, OsString)> {
    environment.iter().filter(|(name, _)| !is_own_variable(name)).cloned().collect()
}

impl Origin {
    /// The original limit of open files.
    pub(super) fn open_files(&self) -> Limit {
        Limit::open_files(self.open_files_soft, self.open_files_hard)
    }

    /// The original signal mask.
    pub(super) fn mask(&self) -> Mask {
        Mask::from_bits(self.blocked_signals)
    }

    /// The original PATH.
    pub(super) fn path(&self) -> Option<&OsStr> {
        variable(&self.environment, "PATH")
    }

    /// The original environment without the variables in `dropped`.
    pub(super) fn environment_without(&self, dropped: &[OsString]) -> Vec<CString> {
        let is_kept = |(name, _): &&(OsString, OsString)| !dropped.contains(name);
        assignments(self.environment.iter().filter(is_kept)).collect()
    }

    /// The original environment with `added`, which replaces variables of the same name.
    pub(super) fn environment_with(&self, added: &Environment) -> Vec<CString> {
        let replaced: Vec<OsString> = added.iter().map(|(name, _)| name.clone()).collect();
        self.environment_without(&replaced).into_iter().chain(assignments(added)).collect()
    }
}

/// `NAME=value` of each variable; those that contain a NUL are left out.
pub fn assignments<'e>(
    variables: impl IntoIterator<Item = &'e (OsString, OsString)>,
) -> impl Iterator<Item = CString> {
    variables.into_iter().filter_map(|(name, value)| {
        // Includes the NUL, so that `CString::new` does not reallocate on every start.
        let mut bytes = Vec::with_capacity(name.len() + value.len() + 2);
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(b'=');
        bytes.extend_from_slice(value.as_bytes());
        CString::new(bytes).ok()
    })
}

/// Whether einhorn itself sets a variable. A master that runs as a worker of another master must
/// not pass these on: the descriptors they name are its own.
pub fn is_own_variable(name: &OsStr) -> bool {
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
