//! Parses YAML as Psych writes it, with Ruby's semantics: a plain `:x` is a symbol, a plain `yes`
//! is true, quoted scalars are strings. Tags never create objects.
//!
//! Events are processed one by one, and every bound is checked before anything grows, so that
//! hostile input costs little (docs/migrating.md lists the bounds).

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use saphyr_parser::{Event, Parser, ScalarStyle, Tag};

use crate::ruby::scalar;
use crate::ruby::value::Value;

/// The maximum size of a state of the original in bytes. A worker takes about 300 bytes, so this is
/// enough for fifty thousand of them, or for ten thousand and 4 MiB of pending replies.
pub const STATE_MAX: usize = 16 * 1024 * 1024;

/// The maximum nesting depth. The original's own state nests six deep; a plugin's state, which is
/// ignored, may nest deeper. The parser's running time grows with the depth.
const DEPTH_MAX: usize = 64;

/// The maximum number of values, with aliased ones counted each time. A worker takes twenty.
const VALUES_MAX: usize = 1_000_000;

/// The maximum number of bytes of text, with aliased text counted each time.
const TEXT_MAX: usize = 2 * STATE_MAX;

/// Reads a document.
///
/// # Errors
/// The line and the reason why it is malformed, or the bound that it exceeds.
pub(super) fn parse(bytes: &[u8]) -> Result<Value, String> {
    if bytes.len() > STATE_MAX {
        return Err(format!("it has {} bytes, and the limit is {STATE_MAX}", bytes.len()));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| format!("it is not UTF-8: {error}"))?;
    if !text.ends_with('\n') {
        return Err("it is cut short: its last line does not end".to_owned());
    }
    let mut tree = Tree::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| format!("it is no YAML: {error}"))?;
        let at_line = |why: String| format!("line {}: {why}", span.start.line());
        tree.take(event).map_err(at_line)?;
    }
    tree.root.ok_or_else(|| "it is empty".to_owned())
}

/// A collection that has not ended yet.
enum Open {
    List(Vec<Value>),
    Map { entries: Vec<(Value, Value)>, key: Option<Value> },
}

/// The part of the tree that has been read.
#[derive(Default)]
struct Tree {
    /// The open collections, each with its anchor.
    open: Vec<(Open, usize)>,
    anchored: HashMap<usize, Value>,
    root: Option<Value>,
    values: usize,
    text: usize,
}

impl Tree {
    fn take(&mut self, event: Event<'_>) -> Result<(), String> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) if self.root.is_some() => {
                Err("a second document begins".to_owned())
            }
            Event::DocumentStart(_) => Ok(()),
            Event::Alias(anchor) => {
                let value = self.anchored.get(&anchor).ok_or("an alias means nothing")?.clone();
                self.count(value.size())?;
                self.place(value);
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                let value = resolve(&text, style, tag.as_deref())?;
                self.count(value.size())?;
                self.end(value, anchor)
            }
            Event::SequenceStart(anchor, _) => self.begin(Open::List(Vec::new()), anchor),
            Event::MappingStart(anchor, _) => {
                self.begin(Open::Map { entries: Vec::new(), key: None }, anchor)
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some((Open::List(items), anchor)) => self.end(Value::List(items), anchor),
                Some((Open::Map { entries, .. }, anchor)) => self.end(Value::Map(entries), anchor),
                None => Ok(()),
            },
        }
    }

    fn begin(&mut self, open: Open, anchor: usize) -> Result<(), String> {
        if self.open.len() == DEPTH_MAX {
            return Err(format!("it nests more than {DEPTH_MAX} deep"));
        }
        self.open.push((open, anchor));
        self.count((1, 0))
    }

    /// Completes a value: stores it for its aliases, and adds it to the innermost collection.
    fn end(&mut self, value: Value, anchor: usize) -> Result<(), String> {
        if anchor != 0 {
            self.count(value.size())?;
            self.anchored.insert(anchor, value.clone());
        }
        self.place(value);
        Ok(())
    }

    fn place(&mut self, value: Value) {
        match self.open.last_mut() {
            None => self.root = Some(value),
            Some((Open::List(items), _)) => items.push(value),
            Some((Open::Map { entries, key }, _)) => match key.take() {
                None => *key = Some(value),
                Some(key) => entries.push((key, value)),
            },
        }
    }

    fn count(&mut self, (values, text): (usize, usize)) -> Result<(), String> {
        self.values += values;
        self.text += text;
        match self.values > VALUES_MAX || self.text > TEXT_MAX {
            true => Err(format!("it holds more than {VALUES_MAX} values or {TEXT_MAX} bytes")),
            false => Ok(()),
        }
    }
}

/// Resolves a scalar by its tag and style.
fn resolve(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, String> {
    let string = || Value::Text(text.as_bytes().to_vec());
    let Some(tag) = tag else {
        return Ok(match style {
            ScalarStyle::Plain => scalar::plain(text),
            _ => string(),
        });
    };
    match tag.suffix.as_str() {
        "binary" => {
            let digits: String = text.split_ascii_whitespace().collect();
            let bytes = BASE64.decode(digits).map_err(|error| format!("!binary: {error}"))?;
            Ok(Value::Text(bytes))
        }
        "ruby/symbol" | "ruby/sym" => Ok(Value::Symbol(text.to_owned())),
        _ => Ok(string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Realtime;

    fn text(text: &str) -> Value {
        Value::Text(text.as_bytes().to_vec())
    }

    #[test]
    fn values_are_what_ruby_meant() {
        let document = "---\n- :x\n- ':x'\n- yes\n- 'yes'\n- 7\n- \"7\"\n- 1e5\n-\n\
                        - !binary |-\n  /wD+\n- &1 2026-11-20 20:20:31.5 +00:00\n- *1\n\
                        - |-\n  a\n  b\n- ! 'no'\n- [:a, {b: 1.5}]\n";
        let time = Value::Time(Realtime(1_795_206_031_500_000_000));
        let expected = [
            Value::Symbol("x".to_owned()),
            text(":x"),
            Value::Bool(true),
            text("yes"),
            Value::Integer(7),
            text("7"),
            text("1e5"),
            Value::Nil,
            Value::Text(vec![0xff, 0, 0xfe]),
            time.clone(),
            time,
            text("a\nb"),
            text("no"),
            Value::List(vec![
                Value::Symbol("a".to_owned()),
                Value::Map(vec![(text("b"), Value::Float(1.5))]),
            ]),
        ];
        assert_eq!(parse(document.as_bytes()), Ok(Value::List(expected.to_vec())));
    }

    #[test]
    fn sets_are_mappings_whatever_their_tag() {
        for tag in ["!ruby/object:Set", "!ruby/set", "!!set"] {
            let document = format!("--- {tag}\nhash:\n  USR2: true\n");
            let members = Value::Map(vec![(text("USR2"), Value::Bool(true))]);
            assert_eq!(parse(document.as_bytes()), Ok(Value::Map(vec![(text("hash"), members)])));
        }
    }

    #[test]
    fn hostile_documents_are_refused() {
        let bomb = |items: usize| {
            let levels = (1..9).map(|level| {
                format!("- &{level} [{}]\n", vec![format!("*{}", level - 1); items].join(","))
            });
            format!("- &0 [x,x,x,x,x,x,x,x,x]\n{}", levels.collect::<String>())
        };
        for (document, why) in [
            ("".to_owned(), "cut short"),
            ("---".to_owned(), "cut short"),
            ("--- a\n--- b\n".to_owned(), "second document"),
            ("{\n".to_owned(), "no YAML"),
            (format!("{}\n", "[".repeat(100_000)), "recursion limit"),
            (format!("{}\n", "{a: ".repeat(100_000)), "recursion limit"),
            (format!("{}\n", "- ".repeat(100_000)), "64 deep"),
            (format!("{}x\n", "? ".repeat(100_000)), "64 deep"),
            (bomb(10), "holds more than"),
            (format!("a: &1 {}\nb:\n{}", "x".repeat(1 << 20), "- *1\n".repeat(64)), "holds more"),
            ("- x\n".repeat(VALUES_MAX + 1), "holds more than"),
            ("*nowhere\n".to_owned(), "no YAML"),
            ("- !binary '*'\n".to_owned(), "line 1: !binary"),
            (format!("{}\n", "x".repeat(STATE_MAX)), "the limit is"),
        ] {
            let refused = parse(document.as_bytes()).unwrap_err();
            assert!(refused.contains(why), "{document:.20}: {refused}");
        }
        assert!(parse(b"- \xff\n").unwrap_err().contains("UTF-8"));
    }
}
