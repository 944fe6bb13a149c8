//! Long options as Ruby's OptionParser accepts them: any unambiguous prefix, in any case, with `_`
//! for `-`; the word after an option that needs a value is its value, whatever it looks like.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use clap::{Arg, ArgGroup, Command, Id};

/// The group of options that the Ruby Einhorn lacks: they must not make its abbreviations
/// ambiguous.
pub const NEWER: &str = "newer";

/// Expands abbreviated long options, and joins every value to its option with `=`, where clap
/// accepts it whatever it looks like. An optional value is taken only if it is a number. Unknown
/// options are kept, for clap to refuse. A prefix of an option outside the group `NEWER` means
/// that one, whatever it means within the group.
///
/// # Errors
/// A sentence that names the options that an ambiguous prefix could mean.
pub fn expand_abbreviations(
    command: &Command,
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<Vec<OsString>, String> {
    let is_program_last = command.get_positionals().any(Arg::is_trailing_var_arg_set);
    let mut words = arguments.into_iter().peekable();
    let mut expanded: Vec<OsString> = words.next().into_iter().collect();
    while let Some(word) = words.next() {
        let bytes = word.as_bytes();
        let is_end = bytes == b"--" || is_program_last && !bytes.starts_with(b"-");
        if is_end || bytes == b"-" {
            expanded.push(word);
            expanded.extend(words);
            break;
        }
        let Some(text) = bytes.strip_prefix(b"--") else {
            let value = takes_next_word(command, &word).then(|| words.next()).flatten();
            expanded.push(with_value(bytes, value));
            continue;
        };
        let equals = text.iter().position(|byte| *byte == b'=');
        let name = &text[..equals.unwrap_or(text.len())];
        let Some(option) = find(command, &String::from_utf8_lossy(name))? else {
            expanded.push(word);
            continue;
        };
        let value = match equals {
            Some(at) => Some(OsStr::from_bytes(&text[at + 1..]).to_owned()),
            None if has_optional_value(option) => words.next_if(|word| is_number(word)),
            None if option.get_action().takes_values() => words.next(),
            None => None,
        };
        let long = format!("--{}", option.get_long().unwrap_or_default());
        expanded.push(with_value(long.as_bytes(), value));
    }
    Ok(expanded)
}

/// Joins an option and its value into one word.
fn with_value(option: &[u8], value: Option<OsString>) -> OsString {
    let mut word = option.to_owned();
    if let Some(value) = value {
        word.push(b'=');
        word.extend(value.as_bytes());
    }
    OsString::from_vec(word)
}

fn has_optional_value(option: &Arg) -> bool {
    option.get_num_args().is_some_and(|values| values.min_values() == 0 && values.takes_values())
}

fn is_number(word: &OsStr) -> bool {
    word.to_str().is_some_and(|word| word.parse::<f64>().is_ok())
}

/// Whether the last of these short options takes the next word as its value: `-gn` in `-gn 3`.
fn takes_next_word(command: &Command, word: &OsStr) -> bool {
    if !word.as_bytes().starts_with(b"-") {
        return false;
    }
    let letters = word.to_string_lossy();
    let mut letters = letters.chars().skip(1);
    while let Some(letter) = letters.next() {
        let option = command.get_arguments().find(|option| option.get_short() == Some(letter));
        if option.is_some_and(|option| option.get_action().takes_values()) {
            return letters.next().is_none();
        }
    }
    false
}

/// The option that a name or prefix means; `None` if there is none.
fn find<'c>(command: &'c Command, prefix: &str) -> Result<Option<&'c Arg>, String> {
    let wanted = prefix.to_ascii_lowercase().replace('_', "-");
    let long = |option: &Arg| option.get_long().unwrap_or_default().to_owned();
    let matching = command.get_arguments().filter(|option| {
        option.get_long().is_some_and(|name| name.starts_with(&wanted)) && !wanted.is_empty()
    });
    let newer = command.get_groups().filter(|group| group.get_id() == NEWER);
    let newer: Vec<&Id> = newer.flat_map(ArgGroup::get_args).collect();
    let (mut newer, mut matching): (Vec<&Arg>, Vec<&Arg>) =
        matching.partition(|option| newer.contains(&option.get_id()));
    if matching.is_empty() {
        matching.append(&mut newer);
    }
    let exact = matching.iter().chain(&newer).find(|option| long(option) == wanted);
    match (exact, matching.as_slice()) {
        (Some(option), _) => Ok(Some(option)),
        (None, []) => Ok(None),
        (None, [option]) => Ok(Some(option)),
        (None, several) => {
            let names: Vec<String> = several.iter().map(|it| format!("--{}", long(it))).collect();
            Err(format!("--{prefix} is ambiguous: it could be {}", names.join(" or ")))
        }
    }
}
