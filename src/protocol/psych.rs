//! Writes YAML as Ruby's Psych does, so that values keep their types in Ruby.
//!
//! No serde crate can tell symbols from strings, and Ruby reads a plain `yes`, `1_000` or `:x` as
//! another type. So symbols are written plain and every string is double-quoted.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::scalar::Scalar;

/// The initial capacity of a document, in bytes; enough for most.
const CAPACITY: usize = 256;

/// A value in Ruby's terms.
#[derive(Clone, Debug, PartialEq)]
pub enum Psych {
    /// `nil`.
    Nil,
    /// `:name`; only for names in this program, which need no quotes.
    Symbol(&'static str),
    /// A string that is written plain, for keys in this program that YAML reads as strings.
    Name(&'static str),
    /// A time as [`crate::state::Realtime`] displays it; written plain.
    Time(String),
    /// Any scalar.
    Scalar(Scalar),
    /// A string that is not UTF-8.
    Binary(Vec<u8>),
    /// An array.
    List(Vec<Psych>),
    /// A hash, in the order given.
    Map(Vec<(Psych, Psych)>),
    /// A `Set` of strings.
    Set(Vec<&'static str>),
}

impl Psych {
    /// A string.
    pub fn text(text: impl Into<String>) -> Psych {
        Psych::Scalar(Scalar::Text(text.into()))
    }

    /// A string of any bytes.
    pub fn bytes(bytes: &[u8]) -> Psych {
        match std::str::from_utf8(bytes) {
            Ok(text) => Psych::text(text),
            Err(_) => Psych::Binary(bytes.to_vec()),
        }
    }

    /// An integer.
    pub fn integer(integer: impl Into<i128>) -> Psych {
        Psych::Scalar(Scalar::Integer(integer.into()))
    }

    /// A boolean.
    pub fn bool(value: bool) -> Psych {
        Psych::Scalar(Scalar::Bool(value))
    }

    /// A hash with symbols for keys.
    pub fn symbols(entries: Vec<(&'static str, Psych)>) -> Psych {
        Psych::Map(entries.into_iter().map(|(key, value)| (Psych::Symbol(key), value)).collect())
    }

    /// `value` or `nil`.
    pub fn optional<T>(value: Option<T>, write: impl FnOnce(T) -> Psych) -> Psych {
        value.map_or(Psych::Nil, write)
    }

    /// Writes a value that fits on the line of its key. Returns whether it does.
    fn write_inline(&self, out: &mut String) -> bool {
        match self {
            Psych::Nil => {}
            Psych::Symbol(name) => {
                out.push(':');
                out.push_str(name);
            }
            Psych::Name(name) => out.push_str(name),
            Psych::Time(time) => out.push_str(time),
            Psych::Scalar(scalar) => write_scalar(out, scalar),
            Psych::Binary(bytes) => {
                // Writing to a string does not fail.
                let _ = write!(out, "!binary \"{}\"", BASE64.encode(bytes));
            }
            Psych::List(items) if items.is_empty() => out.push_str("[]"),
            Psych::Map(entries) if entries.is_empty() => out.push_str("{}"),
            Psych::List(_) | Psych::Map(_) | Psych::Set(_) => return false,
        }
        true
    }
}

/// Formats a document in block style, from `---` to the final newline.
pub fn document(root: &Psych) -> String {
    let mut out = String::with_capacity(CAPACITY);
    out.push_str("---");
    match root {
        Psych::Map(entries) if !entries.is_empty() => {
            out.push('\n');
            map(&mut out, entries, 0, false);
        }
        other => after_key(&mut out, other, 0),
    }
    out
}

/// Indents a new line.
fn pad(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

/// Writes what follows `key:`, where `indent` is the column of the key.
fn after_key(out: &mut String, value: &Psych, indent: usize) {
    let key_end = out.len();
    if *value != Psych::Nil {
        out.push(' ');
    }
    if value.write_inline(out) {
        out.push('\n');
        return;
    }
    out.truncate(key_end);
    match value {
        Psych::List(items) => {
            out.push('\n');
            list(out, items, indent, false);
        }
        Psych::Map(entries) => {
            out.push('\n');
            map(out, entries, indent + 2, false);
        }
        Psych::Set(names) => {
            let members: Vec<(Psych, Psych)> =
                names.iter().map(|name| (Psych::Name(name), Psych::bool(true))).collect();
            let _ = write!(out, " !ruby/object:Set\n{:1$}hash:", "", indent + 2);
            after_key(out, &Psych::Map(members), indent + 2);
        }
        _ => unreachable!("every other value is inline"),
    }
}

/// Writes the items of a list at a column; `started` if the first one continues a line.
fn list(out: &mut String, items: &[Psych], indent: usize, started: bool) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 || !started {
            pad(out, indent);
        }
        out.push('-');
        after_marker(out, item, indent);
    }
}

/// Writes the entries of a mapping at a column; `started` if the first one continues a line.
fn map(out: &mut String, entries: &[(Psych, Psych)], indent: usize, started: bool) {
    for (index, (key, value)) in entries.iter().enumerate() {
        if index > 0 || !started {
            pad(out, indent);
        }
        if key.write_inline(out) {
            out.push(':');
            after_key(out, value, indent);
        } else {
            out.push('?');
            after_marker(out, key, indent);
            pad(out, indent);
            out.push(':');
            after_marker(out, value, indent);
        }
    }
}

/// Writes what follows `-`, `?` or a lone `:` at a column: nested blocks start on the same line.
fn after_marker(out: &mut String, value: &Psych, indent: usize) {
    match value {
        Psych::List(items) if !items.is_empty() => {
            out.push(' ');
            list(out, items, indent + 2, true);
        }
        Psych::Map(entries) if !entries.is_empty() => {
            out.push(' ');
            map(out, entries, indent + 2, true);
        }
        other => after_key(out, other, indent),
    }
}

fn write_scalar(out: &mut String, scalar: &Scalar) {
    // Writing to a string does not fail.
    let _ = match scalar {
        Scalar::Bool(_) | Scalar::Integer(_) => write!(out, "{scalar}"),
        Scalar::Float(value) => write!(out, "{}", float(*value)),
        Scalar::Text(text) => write_quoted(out, text),
    };
}

/// Formats a float for YAML 1.1, whose grammar requires a point, and a sign on the exponent.
fn float(value: f64) -> String {
    if value.is_nan() {
        return ".nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { ".inf" } else { "-.inf" }.to_owned();
    }
    let plain = format!("{value:?}");
    let Some((mantissa, exponent)) = plain.split_once('e') else { return plain };
    let point = if mantissa.contains('.') { "" } else { ".0" };
    let sign = if exponent.starts_with('-') { "" } else { "+" };
    format!("{mantissa}{point}e{sign}{exponent}")
}

/// Writes a double-quoted string with JSON's escapes, which YAML shares.
fn write_quoted(out: &mut String, text: &str) -> std::fmt::Result {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            other if needs_escape(other) => write!(out, "\\u{:04x}", u32::from(other))?,
            other => out.push(other),
        }
    }
    out.push('"');
    Ok(())
}

/// Whether libyaml refuses a character or takes it for a line break, also inside quotes.
fn needs_escape(character: char) -> bool {
    matches!(
        character,
        '\0'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{feff}'
            | '\u{fffe}'
            | '\u{ffff}'
    )
}

/// Makes compact JSON readable for libyaml, which refuses some characters that JSON does not
/// escape; they occur in strings only.
pub fn as_yaml(json: &str) -> String {
    let mut yaml = String::with_capacity(json.len());
    for character in json.chars() {
        // Writing to a string does not fail.
        let _ = match needs_escape(character) {
            true => write!(yaml, "\\u{:04x}", u32::from(character)),
            false => yaml.write_char(character),
        };
    }
    yaml
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_that_of_psych() {
        let root = Psych::symbols(vec![
            ("nothing", Psych::Nil),
            ("empty", Psych::List(Vec::new())),
            (
                "hash",
                Psych::Map(vec![(Psych::integer(3), Psych::symbols(vec![("a", Psych::Nil)]))]),
            ),
            (
                "bind",
                Psych::List(vec![
                    Psych::List(vec![Psych::text("h"), Psych::List(vec![Psych::text("r")])]),
                    Psych::Nil,
                    Psych::symbols(vec![("x", Psych::integer(1)), ("y", Psych::integer(2))]),
                ]),
            ),
            ("signaled", Psych::Set(vec!["USR2"])),
            ("unsignaled", Psych::Set(Vec::new())),
            (
                "sockets",
                Psych::Map(vec![(
                    Psych::List(vec![Psych::text("h"), Psych::integer(80)]),
                    Psych::integer(6),
                )]),
            ),
        ]);
        let expected = "\
---
:nothing:
:empty: []
:hash:
  3:
    :a:
:bind:
- - \"h\"
  - - \"r\"
-
- :x: 1
  :y: 2
:signaled: !ruby/object:Set
  hash:
    USR2: true
:unsignaled: !ruby/object:Set
  hash: {}
:sockets:
  ? - \"h\"
    - 80
  : 6
";
        assert_eq!(document(&root), expected);
    }

    #[test]
    fn strings_are_always_quoted() {
        for (text, written) in [
            ("yes", "\"yes\""),
            ("a\nb\u{85}\u{2028}\u{7f}", "\"a\\nb\\u0085\\u2028\\u007f\""),
            ("\"\\\u{1}", "\"\\\"\\\\\\u0001\""),
        ] {
            assert_eq!(document(&Psych::text(text)), format!("--- {written}\n"));
        }
    }

    #[test]
    fn bytes_that_are_not_utf_8_are_written_as_binary() {
        assert_eq!(document(&Psych::bytes("caf\u{e9}".as_bytes())), "--- \"caf\u{e9}\"\n");
        assert_eq!(document(&Psych::bytes(b"caf\xe9")), "--- !binary \"Y2Fm6Q==\"\n");
    }

    #[test]
    fn floats_are_floats_in_yaml_1_1() {
        for (value, written) in
            [(1.0, "1.0"), (1e300, "1.0e+300"), (1.5e-9, "1.5e-9"), (f64::NAN, ".nan")]
        {
            assert_eq!(float(value), written);
        }
    }
}
