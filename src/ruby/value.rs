//! The values in a document of the original.

use crate::state::Realtime;

/// A value in Ruby's terms.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Nil,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Symbol(String),
    /// A string; bytes, because one that is not UTF-8 is written as `!binary`.
    Text(Vec<u8>),
    Time(Realtime),
    List(Vec<Value>),
    Map(Vec<(Value, Value)>),
}

impl Value {
    /// The kind of value, for error messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::Nil => "nothing",
            Value::Bool(_) => "a boolean",
            Value::Integer(_) | Value::Float(_) => "a number",
            Value::Symbol(_) => "a symbol",
            Value::Text(_) => "a string",
            Value::Time(_) => "a time",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    /// The number of values, itself included, and of bytes of text.
    pub(super) fn size(&self) -> (usize, usize) {
        let sum = |(values, text): (usize, usize), inner: &Value| {
            let (more, longer) = inner.size();
            (values + more, text + longer)
        };
        match self {
            Value::Text(text) => (1, text.len()),
            Value::Symbol(name) => (1, name.len()),
            Value::List(items) => items.iter().fold((1, 0), sum),
            Value::Map(entries) => {
                entries.iter().flat_map(|(key, value)| [key, value]).fold((1, 0), sum)
            }
            _ => (1, 0),
        }
    }
}
