//! Documents of clients, parsed as JSON or else as YAML.

use std::cell::Cell;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::protocol::line::LINE_MAX;
use crate::scalar::Scalar;

/// The deepest nesting of a document. Requests nest three levels; the time of the YAML parser grows
/// with the square of the depth.
const DEPTH_MAX: usize = 16;

/// The largest size of a document, in bytes of text plus values. YAML aliases repeat values:
/// without a limit, one line of 16 KiB takes seconds and gigabytes. No line without aliases gets
/// there.
const SIZE_MAX: usize = 2 * LINE_MAX;

/// The most entries of a mapping; a request has six. Each is compared with all before it.
const ENTRIES_MAX: usize = 128;

/// Any document, without tags.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Scalar(Scalar),
    List(Vec<Value>),
    Map(Vec<(Value, Value)>),
}

impl Value {
    /// Parses a document.
    ///
    /// # Errors
    /// Where and why it does not parse, for the client.
    pub(crate) fn parse(document: &str) -> Result<Value, String> {
        // Nearly all clients send JSON, and parsing it as JSON is twenty times faster.
        let as_json = match deeper_than(document, DEPTH_MAX) {
            true => return Err(format!("nested more than {DEPTH_MAX} levels deep")),
            false => serde_json::from_str(document),
        };
        let left = Cell::new(SIZE_MAX);
        let as_yaml = |_| AnyValue(&left).deserialize(serde_yaml::Deserializer::from_str(document));
        as_json.or_else(as_yaml).map_err(|error| error.to_string())
    }

    /// The value of an entry of a mapping; its key may have Ruby's leading colon.
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        let Value::Map(entries) = self else { return None };
        entries.iter().find(|(key, _)| key.is_name(name)).map(|(_, value)| value)
    }

    /// Whether this key is `name` or `:name`.
    fn is_name(&self, name: &str) -> bool {
        match self {
            Value::Scalar(Scalar::Text(text)) => text.strip_prefix(':').unwrap_or(text) == name,
            _ => false,
        }
    }

    /// The type, for error messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Value::Null => "nothing",
            Value::Scalar(Scalar::Bool(_)) => "a boolean",
            Value::Scalar(Scalar::Integer(_) | Scalar::Float(_)) => "a number",
            Value::Scalar(Scalar::Text(_)) => "a string",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Scalar(scalar) => write!(out, "{scalar}"),
            other => out.write_str(other.kind()),
        }
    }
}

/// Estimates from above whether a document nests deeper than `limit`: by the brackets that are open
/// at once, and by the columns of indentation and markers before a line's first word.
fn deeper_than(document: &str, limit: usize) -> bool {
    let mut open = 0usize;
    let mut deepest = 0;
    for byte in document.bytes() {
        match byte {
            b'[' | b'{' => open += 1,
            b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(open);
    }
    // A level of block nesting takes at least one column.
    let columns = document.lines().map(|line| {
        line.bytes().take_while(|byte| matches!(byte, b' ' | b'-' | b'?' | b':' | b'\t')).count()
    });
    deepest > limit || columns.max().unwrap_or(0) > 2 * limit
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        AnyValue(&Cell::new(usize::MAX)).deserialize(deserializer)
    }
}

/// Deserializes any value, and counts its size against what is left of [`SIZE_MAX`].
#[derive(Clone, Copy)]
struct AnyValue<'a>(&'a Cell<usize>);

impl AnyValue<'_> {
    fn charge<E: Error>(self, size: usize) -> Result<(), E> {
        let left = self.0.get().checked_sub(size);
        self.0.set(left.ok_or_else(|| E::custom("its aliases expand to too much data"))?);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for AnyValue<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.charge(1)?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for AnyValue<'_> {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a plain YAML or JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Scalar(Scalar::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Scalar(Scalar::Integer(i128::from(value))))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Scalar(Scalar::Integer(i128::from(value))))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Value, E> {
        let integer = i128::try_from(value).map(Scalar::Integer);
        // Larger than any counter: keep the digits.
        Ok(Value::Scalar(integer.unwrap_or_else(|_| Scalar::Text(value.to_string()))))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(Value::Scalar(Scalar::Integer(value)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Scalar(Scalar::Float(value)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        self.charge(value.len())?;
        Ok(Value::Scalar(Scalar::Text(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut map: Vec<(Value, Value)> = Vec::new();
        while let Some((key, value)) = items.next_entry_seed(self, self)? {
            if map.len() == ENTRIES_MAX {
                return Err(Error::custom(format!(
                    "a mapping has more than {ENTRIES_MAX} entries"
                )));
            }
            if map.iter().any(|(known, _)| *known == key) {
                return Err(Error::custom(format!("`{key}` is given twice")));
            }
            map.push((key, value));
        }
        Ok(Value::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &str) -> Value {
        Value::Scalar(Scalar::Text(value.to_owned()))
    }

    #[test]
    fn json_and_yaml_give_the_same_value() {
        let json = Value::parse(r#"{"command": "inc", "id": 1, "args": ["a", null]}"#).unwrap();
        let yaml = Value::parse("---\ncommand: inc\nid: 1\nargs:\n- a\n-\n").unwrap();
        assert_eq!(json, yaml);
        assert_eq!(json.get("command"), Some(&text("inc")));
    }

    #[test]
    fn names_may_have_rubys_colon() {
        let value = Value::parse("{':number': 3, seconds: 2}").unwrap();
        assert!(value.get("number").is_some() && value.get("seconds").is_some());
    }

    #[test]
    fn deep_nesting_is_refused_before_parsing() {
        for hostile in [
            "[".repeat(1000),
            "{a: ".repeat(1000),
            "- ".repeat(1000),
            (0..1000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect(),
            "? ".repeat(500),
        ] {
            assert!(Value::parse(&hostile).unwrap_err().contains("nested"), "{hostile:.20}");
        }
    }

    #[test]
    fn tags_duplicates_and_nonsense_are_errors() {
        for bad in ["!ruby/object:Set {}", "{a: 1, a: 2}", "{", "a: b: c", "*nowhere", "\u{0}"] {
            assert!(Value::parse(bad).is_err(), "{bad:?} parsed");
        }
    }

    #[test]
    fn a_mapping_of_many_entries_is_refused() {
        let many: String = (0..2000).map(|key| format!("k{key}: 1, ")).collect();
        assert!(Value::parse(&format!("{{{many}}}")).unwrap_err().contains("128 entries"));
    }

    #[test]
    fn exploding_aliases_are_refused() {
        let bomb = "[&a [x,x,x,x,x,x,x,x], &b [*a,*a,*a,*a,*a,*a,*a,*a], \
                    &c [*b,*b,*b,*b,*b,*b,*b,*b], &d [*c,*c,*c,*c,*c,*c,*c,*c], \
                    &e [*d,*d,*d,*d,*d,*d,*d,*d], &f [*e,*e,*e,*e,*e,*e,*e,*e]]";
        assert!(Value::parse(bomb).is_err());
    }
}
