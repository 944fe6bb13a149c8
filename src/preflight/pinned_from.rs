//! What a pinned image must know besides the state: the process attributes that the previous image
//! changed for the exec, and the limits that only the next image may change. It is one word of the
//! command line, which every release that can be pinned must be able to read:
//!
//! ```text
//! directory=9,umask=18,RLIMIT_NOFILE=20000:20000:4096
//! ```
//!
//! Unknown keys are ignored.

use std::fmt;

use crate::preflight::pin_message::PinnedLimit;

/// The process attributes before the pinned exec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinnedFrom {
    /// The descriptor of the working directory.
    pub directory: i32,
    /// The umask.
    pub umask: u32,
    /// Limits that were changed, or are to be changed.
    pub limits: Vec<ChangedLimit>,
}

/// A limit that a pinned exec changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedLimit {
    /// The limit before the exec.
    pub before: PinnedLimit,
    /// The pinned hard limit. The next image sets it once it can no longer roll back: only root can
    /// raise a hard limit again.
    pub hard: u64,
}

impl fmt::Display for PinnedFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PinnedFrom { directory, umask, limits } = self;
        write!(f, "directory={directory},umask={umask}")?;
        for ChangedLimit { before: PinnedLimit { name, soft, hard }, hard: pinned } in limits {
            write!(f, ",{name}={soft}:{hard}:{pinned}")?;
        }
        Ok(())
    }
}

impl PinnedFrom {
    /// Parses the word; `None` if it is malformed.
    pub fn parse(text: &str) -> Option<PinnedFrom> {
        let (mut directory, mut umask, mut limits) = (None, None, Vec::new());
        for pair in text.split(',') {
            let (name, value) = pair.split_once('=')?;
            match name {
                "directory" => directory = value.parse().ok().filter(|number| *number >= 3),
                "umask" => umask = value.parse().ok().filter(|mode| *mode <= 0o777),
                _ if name.starts_with("RLIMIT_") => {
                    let numbers = value.split(':').map(|number| number.parse().ok());
                    let numbers: Vec<u64> = numbers.collect::<Option<_>>()?;
                    let &[soft, before, hard] = &numbers[..] else { return None };
                    let before = PinnedLimit { name: name.to_owned(), soft, hard: before };
                    limits.push(ChangedLimit { before, hard });
                }
                _ => {}
            }
        }
        Some(PinnedFrom { directory: directory?, umask: umask?, limits })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_is_read_as_it_was_written() {
        let before = PinnedLimit { name: "RLIMIT_AS".to_owned(), soft: 5, hard: u64::MAX };
        let from = PinnedFrom {
            directory: 9,
            umask: 0o022,
            limits: vec![ChangedLimit { before, hard: 7 }],
        };
        let word = "directory=9,umask=18,RLIMIT_AS=5:18446744073709551615:7";
        assert_eq!(from.to_string(), word);
        assert_eq!(PinnedFrom::parse(word), Some(from.clone()));
        assert_eq!(PinnedFrom::parse(&format!("later=1,{word}")), Some(from));
        for bad in [
            "",
            "directory=9",
            "umask=18",
            "directory=2,umask=18",
            "directory=9,umask=512",
            "directory=9,umask=18,RLIMIT_AS=5:7",
            "directory=9,umask=18,RLIMIT_AS=5:7:x",
            "directory=9,umask=18,",
        ] {
            assert_eq!(PinnedFrom::parse(bad), None, "{bad}");
        }
    }
}
