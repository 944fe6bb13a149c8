//! Long options as Ruby's OptionParser takes them: any beginning that means only one, in capitals
//! or small letters, with `_` for `-`; and whatever follows one that needs a value is its value.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use clap::{Arg, ArgGroup, Command, Id};

/// The group of options that the Ruby Einhorn lacks: its abbreviations mean what they meant.
pub const NEWER: &str = "newer";

/// Writes the long options of a command line out in full, and every value behind `=`, where clap
/// takes it whatever it looks like. A value that may be left out is taken where it is a number.
/// What is no option of `command` stays as it is, for clap to refuse. Options of its group `newer`
/// give way: a beginning that means one of the others means that one.
///
/// # Errors
/// A sentence that names the options that a beginning may mean.
pub fn expand_abbreviations(
    command: &Command,
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<Vec<OsString>, String> {
    let is_program_last = command.get_positionals().any(Arg::is_trailing_var_arg_set);
    let mut words = arguments.into_iter().peekable();
    let mut spelt: Vec<OsString> = words.next().into_iter().collect();
    while let Some(word) = words.next() {
        let bytes = word.as_bytes();
        let is_end = bytes == b"--" || is_program_last && !bytes.starts_with(b"-");
        if is_end || bytes == b"-" {
            spelt.push(word);
            spelt.extend(words);
            break;
        }
        let Some(text) = bytes.strip_prefix(b"--") else {
            let value = takes_next_word(command, &word).then(|| words.next()).flatten();
            spelt.push(with_value(bytes, value));
            continue;
        };
        let equals = text.iter().position(|byte| *byte == b'=');
        let name = &text[..equals.unwrap_or(text.len())];
        let Some(option) = find(command, &String::from_utf8_lossy(name))? else {
            spelt.push(word);
            continue;
        };
        let value = match equals {
            Some(at) => Some(OsStr::from_bytes(&text[at + 1..]).to_owned()),
            None if may_lack_value(option) => words.next_if(|word| is_number(word)),
            None if option.get_action().takes_values() => words.next(),
            None => None,
        };
        let long = format!("--{}", option.get_long().unwrap_or_default());
        spelt.push(with_value(long.as_bytes(), value));
    }
    Ok(spelt)
}

/// An option as one word with its value, which then may look like anything.
fn with_value(option: &[u8], value: Option<OsString>) -> OsString {
    let mut word = option.to_owned();
    if let Some(value) = value {
        word.push(b'=');
        word.extend(value.as_bytes());
    }
    OsString::from_vec(word)
}

/// Whether an option takes a value that may be left out.
fn may_lack_value(option: &Arg) -> bool {
    option.get_num_args().is_some_and(|values| values.min_values() == 0 && values.takes_values())
}

fn is_number(word: &OsStr) -> bool {
    word.to_str().is_some_and(|word| word.parse::<f64>().is_ok())
}

/// Whether short options end with one whose value is the next word: `-gn` of `-gn 3`.
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

/// The option that a name or its beginning means; `None` if there is none.
fn find<'c>(command: &'c Command, beginning: &str) -> Result<Option<&'c Arg>, String> {
    let wanted = beginning.to_ascii_lowercase().replace('_', "-");
    let long = |option: &Arg| option.get_long().unwrap_or_default().to_owned();
    let fitting = command.get_arguments().filter(|option| {
        option.get_long().is_some_and(|name| name.starts_with(&wanted)) && !wanted.is_empty()
    });
    let newer = command.get_groups().filter(|group| group.get_id() == NEWER);
    let newer: Vec<&Id> = newer.flat_map(ArgGroup::get_args).collect();
    let (mut newer, mut fitting): (Vec<&Arg>, Vec<&Arg>) =
        fitting.partition(|option| newer.contains(&option.get_id()));
    if fitting.is_empty() {
        fitting.append(&mut newer);
    }
    let exact = fitting.iter().chain(&newer).find(|option| long(option) == wanted);
    match (exact, fitting.as_slice()) {
        (Some(option), _) => Ok(Some(option)),
        (None, []) => Ok(None),
        (None, [option]) => Ok(Some(option)),
        (None, several) => {
            let names: Vec<String> = several.iter().map(|it| format!("--{}", long(it))).collect();
            Err(format!("--{beginning} is ambiguous: it could be {}", names.join(" or ")))
        }
    }
}
