//! The command line of a check, and that of the adoption which it is the check of.

use std::ffi::OsString;
use std::path::Path;

use crate::cli::{Task, parse};

/// The word that makes a check of it.
const CHECK: &str = "--upgrade-check";

/// The word before the number of the state.
const STATE: &str = "--with-state-fd";

/// The command line of a check up to where the state is named, without the word for the check, and
/// what follows; with that number or another in between it adopts. `None` where it does not.
pub fn split_at_state_fd(
    command_line: &[OsString],
    state: i32,
) -> Option<(Vec<OsString>, Vec<OsString>)> {
    let number = state.to_string();
    let mut before = command_line.to_vec();
    // The master writes its own options first, so the first ones are these.
    before.remove(before.iter().position(|word| word == CHECK)?);
    let is_state = |words: &[OsString]| words[0] == STATE && words[1] == *number;
    let at = before.windows(2).position(is_state)?;
    let after = before.split_off(at).split_off(2);
    let named = [STATE.into(), number.into()];
    let adopting = before.iter().chain(&named).chain(&after).cloned();
    match parse(adopting, Path::new(""), Path::new("")) {
        Ok(Task::Adopt { state: found, rolled_back: None, pinned: None, .. }) if found == state => {
            Some((before, after))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<OsString> {
        text.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn what_stands_around_the_state_is_kept() {
        for (line, before, after) in [
            ("e --upgrade-check --with-state-fd 7 -- web", "e", "-- web"),
            ("e -v --with-state-fd 7 --upgrade-check web", "e -v", "web"),
            (
                "e --upgrade-check --with-state-fd 7 -- web --with-state-fd 7 --upgrade-check",
                "e",
                "-- web --with-state-fd 7 --upgrade-check",
            ),
        ] {
            assert_eq!(
                split_at_state_fd(&words(line), 7),
                Some((words(before), words(after))),
                "{line}"
            );
        }
    }

    #[test]
    fn what_would_not_adopt_is_nothing() {
        for line in [
            "e --with-state-fd 7 -- web",
            "e --upgrade-check -- web",
            "e --upgrade-check --with-state-fd 8 -- web",
            "e -- web --upgrade-check --with-state-fd 7",
            "e --upgrade-check --with-state-fd 7 --upgrade-check -- web",
            "e --upgrade-check --with-state-fd 7 --with-state-fd 9 -- web",
            "e --upgrade-check --with-state-fd 7 --rolled-back x -- web",
            "--upgrade-check",
        ] {
            assert_eq!(split_at_state_fd(&words(line), 7), None, "{line}");
        }
    }
}
