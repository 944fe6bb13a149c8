//! Writes YAML as Ruby's Psych does, so that Ruby reads back what was meant.
//!
//! No serde crate can say "this is a symbol, that is a string": Ruby turns a plain `yes`, `1_000`
//! or `:x` into other types. So symbols are written plain and every string double-quoted.

use std::fmt::Write;

use crate::scalar::Scalar;

/// A value in Ruby's terms.
#[derive(Clone, Debug, PartialEq)]
pub enum Psych {
    /// `nil`.
    Nil,
    /// `:name`; only names that the program itself chose.
    Symbol(&'static str),
    /// A string that the program itself chose and that no reader takes for anything else; written
    /// plain, for keys.
    Name(&'static str),
    /// A time as [`crate::state::Realtime`] displays it; written plain.
    Time(String),
    /// Anything a scalar can be.
    Scalar(Scalar),
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

    /// Whether it stands on the line of its key.
    fn inline(&self) -> Option<String> {
        Some(match self {
            Psych::Nil => String::new(),
            Psych::Symbol(name) => format!(":{name}"),
            Psych::Name(name) => (*name).to_owned(),
            Psych::Time(time) => time.clone(),
            Psych::Scalar(scalar) => written(scalar),
            Psych::List(items) if items.is_empty() => "[]".to_owned(),
            Psych::Map(entries) if entries.is_empty() => "{}".to_owned(),
            Psych::List(_) | Psych::Map(_) | Psych::Set(_) => return None,
        })
    }
}

/// A whole document in block style, from `---` to the last newline.
pub fn document(root: &Psych) -> String {
    let mut out = String::from("---");
    match root {
        Psych::Map(entries) if !entries.is_empty() => {
            out.push('\n');
            map(&mut out, entries, 0, false);
        }
        other => after_key(&mut out, other, 0),
    }
    out
}

/// Writes what follows `key:`, where `indent` is the column of the key.
fn after_key(out: &mut String, value: &Psych, indent: usize) {
    if let Some(text) = value.inline() {
        if !text.is_empty() {
            out.push(' ');
        }
        out.push_str(&text);
        out.push('\n');
        return;
    }
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

/// Writes the items of a list at a column; `started` when the first one continues a line.
fn list(out: &mut String, items: &[Psych], indent: usize, started: bool) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 || !started {
            let _ = write!(out, "{:indent$}", "");
        }
        out.push('-');
        after_marker(out, item, indent);
    }
}

/// Writes the entries of a mapping at a column; `started` when the first one continues a line.
fn map(out: &mut String, entries: &[(Psych, Psych)], indent: usize, started: bool) {
    for (index, (key, value)) in entries.iter().enumerate() {
        if index > 0 || !started {
            let _ = write!(out, "{:indent$}", "");
        }
        match key.inline() {
            Some(text) => {
                let _ = write!(out, "{text}:");
                after_key(out, value, indent);
            }
            None => {
                out.push('?');
                after_marker(out, key, indent);
                let _ = write!(out, "{:indent$}:", "");
                after_marker(out, value, indent);
            }
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

fn written(scalar: &Scalar) -> String {
    match scalar {
        Scalar::Bool(value) => value.to_string(),
        Scalar::Integer(value) => value.to_string(),
        Scalar::Float(value) => float(*value),
        Scalar::Text(text) => quoted(text),
    }
}

/// A float that YAML 1.1 reads as one: its grammar wants a point, and a sign on the exponent.
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

/// A double-quoted string: JSON's escapes, which YAML shares, and an escape for every character
/// that libyaml refuses or takes for a line break.
fn quoted(text: &str) -> String {
    let json = serde_json::Value::from(text).to_string();
    let mut out = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            '\u{7f}'..='\u{9f}'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{feff}'
            | '\u{fffe}'
            | '\u{ffff}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(character));
            }
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shapes_are_psychs() {
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
    fn strings_are_quoted_whatever_they_look_like() {
        for (text, written) in [
            ("yes", "\"yes\""),
            ("a\nb\u{85}\u{2028}\u{7f}", "\"a\\nb\\u0085\\u2028\\u007f\""),
            ("\"\\\u{1}", "\"\\\"\\\\\\u0001\""),
        ] {
            assert_eq!(document(&Psych::text(text)), format!("--- {written}\n"));
        }
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
