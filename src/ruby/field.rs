//! Fields: values with their paths, so that error messages can name them.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use crate::protocol::span;
use crate::ruby::value::Value;
use crate::scalar::Scalar;
use crate::state::{Realtime, SECONDS_MAX};

/// What will be different after a takeover, as messages for the log.
pub(super) type Notes = Vec<String>;

/// A value of the original's state.
#[derive(Clone, Debug)]
pub(super) struct Field<'a> {
    /// The keys that lead to it.
    path: String,
    value: &'a Value,
}

impl<'a> Field<'a> {
    /// The whole document.
    pub(super) fn root(value: &'a Value) -> Field<'a> {
        Field { path: String::new(), value }
    }

    fn inner(&self, name: impl std::fmt::Display, value: &'a Value) -> Field<'a> {
        let separator = if self.path.is_empty() { "" } else { " " };
        Field { path: format!("{}{separator}{name}", self.path), value }
    }

    /// The keys that lead to it.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// An error message about this field.
    pub(super) fn wrong(&self, what: impl std::fmt::Display) -> String {
        match self.path.as_str() {
            "" => format!("the state {what}"),
            path => format!("`{path}` {what}"),
        }
    }

    fn must_be(&self, what: &str) -> String {
        self.wrong(format_args!("must be {what}, not {}", self.value.kind()))
    }

    /// Whether it is nil.
    pub(super) fn is_nil(&self) -> bool {
        *self.value == Value::Nil
    }

    /// The entries of a mapping.
    fn entries(&self) -> Result<&'a [(Value, Value)], String> {
        match self.value {
            Value::Map(entries) => Ok(entries),
            _ => Err(self.must_be("a mapping")),
        }
    }

    /// The entries of a mapping whose keys are numbers, each once.
    pub(super) fn numbered(&self) -> Result<Vec<(i32, Field<'a>)>, String> {
        let mut numbered = Vec::new();
        for (key, value) in self.entries()? {
            let number = match key {
                Value::Integer(number) => i32::try_from(*number).ok(),
                _ => None,
            };
            let number = number.filter(|number| *number > 0).ok_or_else(|| {
                self.wrong(format_args!("must have pids for keys, not {}", display_key(key)))
            })?;
            numbered.push((number, self.inner(number, value)));
        }
        numbered.sort_by_key(|(number, _)| *number);
        match numbered.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            Some(pair) => Err(self.wrong(format_args!("has {} twice", pair[0].0))),
            None => Ok(numbered),
        }
    }

    /// The keys and values of a mapping.
    pub(super) fn pairs(&self) -> Result<Vec<(Field<'a>, Field<'a>)>, String> {
        let pair = |(key, value): &'a (Value, Value)| {
            (self.inner(display_key(key), key), self.inner(display_key(key), value))
        };
        Ok(self.entries()?.iter().map(pair).collect())
    }

    /// The keys of a mapping.
    pub(super) fn keys(&self) -> Result<Vec<Field<'a>>, String> {
        Ok(self.pairs()?.into_iter().map(|(key, _)| key).collect())
    }

    /// The items of a list.
    pub(super) fn items(&self) -> Result<Vec<Field<'a>>, String> {
        match self.value {
            Value::List(items) => {
                Ok((0..).zip(items).map(|(index, item)| self.inner(index, item)).collect())
            }
            _ => Err(self.must_be("a list")),
        }
    }

    /// The value of a key, which may be a symbol or a string; `None` if it is missing or nil.
    ///
    /// # Errors
    /// This is not a mapping, or the key is duplicated.
    pub(super) fn get(&self, name: &str) -> Result<Option<Field<'a>>, String> {
        let mut found = self.entries()?.iter().filter(|(key, _)| is_name(key, name));
        match (found.next(), found.next()) {
            (Some((_, value)), None) => {
                let field = self.inner(format_args!(":{name}:"), value);
                Ok(Some(field).filter(|field| !field.is_nil()))
            }
            (None, _) => Ok(None),
            (Some(_), Some(_)) => Err(self.wrong(format_args!("has `:{name}:` twice"))),
        }
    }

    /// The value of a required key.
    pub(super) fn need(&self, name: &str) -> Result<Field<'a>, String> {
        let missing = || self.wrong(format_args!("lacks `:{name}:`"));
        self.get(name)?.ok_or_else(missing)
    }

    /// What the value of a key is read as; `None` if it is missing or nil.
    pub(super) fn optional<T>(
        &self,
        name: &str,
        read: impl FnOnce(&Field<'a>) -> Result<T, String>,
    ) -> Result<Option<T>, String> {
        self.get(name)?.map(|field| read(&field)).transpose()
    }

    /// The boolean under a key; `false` if it is missing or nil.
    pub(super) fn flag(&self, name: &str) -> Result<bool, String> {
        Ok(self.optional(name, Field::bool)?.unwrap_or(false))
    }

    /// The number of something under a key; 0 if it is missing or nil.
    pub(super) fn count(&self, name: &str) -> Result<u32, String> {
        Ok(self.optional(name, |field| field.whole(0, u32::MAX))?.unwrap_or(0))
    }

    /// The keys of a mapping that are not among `known`, each with its path.
    pub(super) fn unknown(&self, known: &[&str]) -> Result<Vec<String>, String> {
        let is_unknown = |key: &Value| !known.iter().any(|name| is_name(key, name));
        let keys = self.entries()?.iter().map(|(key, _)| key).filter(|key| is_unknown(key));
        Ok(keys.map(|key| self.inner(display_key(key), &Value::Nil).path).collect())
    }

    /// `true` or `false`.
    pub(super) fn bool(&self) -> Result<bool, String> {
        match self.value {
            Value::Bool(value) => Ok(*value),
            _ => Err(self.must_be("true or false")),
        }
    }

    /// A whole number between two bounds.
    pub(super) fn whole<T>(&self, lowest: T, highest: T) -> Result<T, String>
    where
        T: TryFrom<i128> + PartialOrd + std::fmt::Display + Copy,
    {
        let Value::Integer(number) = self.value else { return Err(self.must_be("a whole number")) };
        let fits = T::try_from(*number).ok().filter(|n| (lowest..=highest).contains(n));
        let wrong = format_args!("must be from {lowest} to {highest}, not {number}").to_string();
        fits.ok_or_else(|| self.wrong(wrong))
    }

    /// A descriptor number, not that of a standard stream.
    pub(super) fn descriptor(&self) -> Result<i32, String> {
        self.whole(3, i32::MAX)
    }

    /// A whole number, clamped to two bounds with a note.
    pub(super) fn nearest<T>(&self, lowest: T, highest: T, notes: &mut Notes) -> Result<T, String>
    where
        T: TryFrom<i128> + Into<i128> + std::fmt::Display + Copy,
    {
        let Value::Integer(number) = self.value else { return Err(self.must_be("a whole number")) };
        let nearest = if *number < lowest.into() { lowest } else { highest };
        let is_between = (lowest.into()..=highest.into()).contains(number);
        let fits = T::try_from(*number).ok().filter(|_| is_between);
        Ok(fits.unwrap_or_else(|| {
            notes.push(self.clamped(number, nearest));
            nearest
        }))
    }

    /// The note for a clamped value.
    pub(super) fn clamped(
        &self,
        given: impl std::fmt::Display,
        taken: impl std::fmt::Display,
    ) -> String {
        self.wrong(format_args!("is {given}, which is out of bounds here: it is {taken} now"))
    }

    /// A span in seconds, clamped to the supported range with a note.
    pub(super) fn seconds(&self, notes: &mut Notes) -> Result<Duration, String> {
        let seconds = match self.value {
            // Whole seconds beyond 2^53 are too long in any case.
            Value::Integer(number) => *number as f64,
            Value::Float(number) => *number,
            _ => return Err(self.must_be("a number of seconds")),
        };
        // NaN stays NaN, and `span` refuses it.
        let nearest = seconds.clamp(0.0, SECONDS_MAX);
        if nearest != seconds {
            notes.push(self.clamped(seconds, nearest));
        }
        span("", nearest, true, SECONDS_MAX).map_err(|why| self.wrong(why.trim()))
    }

    /// The bytes of a string.
    pub(super) fn bytes(&self) -> Result<&'a [u8], String> {
        match self.value {
            Value::Text(text) => Ok(text),
            _ => Err(self.must_be("a string")),
        }
    }

    /// A string that is UTF-8.
    pub(super) fn text(&self) -> Result<&'a str, String> {
        std::str::from_utf8(self.bytes()?).map_err(|_| self.wrong("is not UTF-8"))
    }

    /// A string or a symbol, without its colon.
    pub(super) fn name(&self) -> Result<&'a str, String> {
        match self.value {
            Value::Symbol(name) => Ok(name),
            _ => self.text(),
        }
    }

    /// A string to be used in a command line, a path or a variable, so it must not contain NUL.
    pub(super) fn word(&self) -> Result<OsString, String> {
        let bytes = self.bytes()?;
        match bytes.contains(&0) {
            true => Err(self.wrong("has a NUL in it")),
            false => Ok(OsString::from_vec(bytes.to_vec())),
        }
    }

    /// A list of words.
    pub(super) fn words(&self) -> Result<Vec<OsString>, String> {
        self.items()?.iter().map(Field::word).collect()
    }

    /// An instant.
    pub(super) fn time(&self) -> Result<Realtime, String> {
        match self.value {
            Value::Time(time) => Ok(*time),
            _ => Err(self.must_be("a time")),
        }
    }

    /// A request id, which a client chose: one that we could not send back is omitted with a note.
    pub(super) fn request_id(&self, notes: &mut Notes) -> Option<Scalar> {
        let scalar = match self.value {
            Value::Bool(value) => Some(Scalar::Bool(*value)),
            Value::Integer(number) => Some(Scalar::Integer(*number)),
            Value::Float(number) => Some(Scalar::Float(*number)),
            Value::Symbol(name) => Some(Scalar::Text(format!(":{name}"))),
            Value::Time(time) => Some(Scalar::Text(time.to_string())),
            Value::Text(_) => self.text().ok().map(|text| Scalar::Text(text.to_owned())),
            Value::Nil | Value::List(_) | Value::Map(_) => None,
        };
        if scalar.is_none() && !self.is_nil() {
            notes.push(self.wrong("is left out: ids here are numbers and text"));
        }
        scalar
    }
}

/// Whether a key is the symbol or the string `name`.
fn is_name(key: &Value, name: &str) -> bool {
    match key {
        Value::Symbol(symbol) => symbol == name,
        Value::Text(text) => text == name.as_bytes(),
        _ => false,
    }
}

/// A key as shown in a message; long ones are truncated.
fn display_key(key: &Value) -> String {
    const SHOWN_MAX: usize = 60;
    match key {
        Value::Symbol(name) => format!(":{}:", name.chars().take(SHOWN_MAX).collect::<String>()),
        Value::Text(text) => String::from_utf8_lossy(text).chars().take(SHOWN_MAX).collect(),
        Value::Integer(number) => number.to_string(),
        other => other.kind().to_owned(),
    }
}
