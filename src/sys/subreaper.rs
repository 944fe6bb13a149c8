//! Whether this process becomes the parent of descendants whose own parents have died; see
//! PR_SET_CHILD_SUBREAPER(2const). It survives execve(2), and no child inherits it.

use std::io;

use nix::sys::prctl::{get_child_subreaper, set_child_subreaper};

/// Sets or clears it. Descendants that already run count as those to come do; those whose parents
/// died before stay where they are.
///
/// # Errors
/// Those of prctl(2).
pub fn set(is_subreaper: bool) -> io::Result<()> {
    Ok(set_child_subreaper(is_subreaper)?)
}

/// Whether it is set.
///
/// # Errors
/// Those of prctl(2).
pub fn is_set() -> io::Result<bool> {
    Ok(get_child_subreaper()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::alone::alone;

    #[test]
    fn what_was_set_is_read_and_cleared() {
        alone("sys::subreaper::tests::what_was_set_is_read_and_cleared", || {
            assert!(!is_set().unwrap());
            set(true).unwrap();
            assert!(is_set().unwrap());
            set(false).unwrap();
            assert!(!is_set().unwrap());
        });
    }
}
