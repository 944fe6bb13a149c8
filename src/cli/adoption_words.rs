//! Turns the command line of an upgrade check into that of the adoption which it checks.

use std::ffi::OsString;
use std::path::Path;

use crate::cli::options::{Task, parse};

/// The option that asks for a check.
const CHECK: &str = "--upgrade-check";

/// The option whose value is the state's descriptor.
const STATE: &str = "--with-state-fd";

/// Splits the command line of a check in two, without `--upgrade-check` and `--with-state-fd N`;
/// with `--with-state-fd` and any descriptor in between, it adopts that state. `None` if it would
/// not.
pub fn split_at_state_fd(
    command_line: &[OsString],
    state: i32,
) -> Option<(Vec<OsString>, Vec<OsString>)> {
    let number = state.to_string();
    let mut before = command_line.to_vec();
    // The master puts these options first; later ones may be the program's.
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
    fn the_words_around_the_state_are_kept() {
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
    fn other_command_lines_are_refused() {
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
