//! The part of JSON Schema 2020-12 that the schemas of the documents use. Any other keyword is an
//! error, so that none is believed to be checked that is not.
//!
//! A crate that knows all of it is some seventy crates.

use serde_json::Value;

/// Says where a document is not as a schema of `docs/` has it.
pub(crate) fn breach(schema: &str, document: &str) -> Option<String> {
    let schema: Value = serde_json::from_str(schema).expect("a schema is JSON");
    let document: Value = match serde_json::from_str(document) {
        Ok(document) => document,
        Err(error) => return Some(error.to_string()),
    };
    Schema { root: &schema }.breach(&schema, &document).map(|why| format!("{why} in {document}"))
}

struct Schema<'a> {
    root: &'a Value,
}

impl Schema<'_> {
    fn breach(&self, schema: &Value, value: &Value) -> Option<String> {
        let keywords = schema.as_object().expect("a schema is an object");
        keywords.iter().find_map(|(keyword, wanted)| self.keyword(schema, keyword, wanted, value))
    }

    fn keyword(
        &self,
        schema: &Value,
        keyword: &str,
        wanted: &Value,
        value: &Value,
    ) -> Option<String> {
        let no = |what: &str| format!("{value} {what} {wanted}");
        let fits = |other: &&Value| self.breach(other, value).is_none();
        match keyword {
            "$schema" | "$defs" | "title" | "description" => None,
            "$ref" => {
                let path = wanted.as_str().and_then(|path| path.strip_prefix('#'));
                let meant = path.and_then(|path| self.root.pointer(path));
                self.breach(meant.unwrap_or_else(|| panic!("{wanted} leads nowhere")), value)
            }
            "const" => (value != wanted).then(|| no("is not")),
            "enum" => (!list(wanted).contains(value)).then(|| no("is none of")),
            "minimum" => {
                (value.is_number() && value.as_f64() < wanted.as_f64()).then(|| no("is below"))
            }
            "maximum" => (value.as_f64() > wanted.as_f64()).then(|| no("is above")),
            "type" => {
                let is_one = match wanted {
                    Value::Array(types) => types.iter().any(|wanted| is_a(value, wanted)),
                    wanted => is_a(value, wanted),
                };
                (!is_one).then(|| no("is no"))
            }
            "anyOf" => (list(wanted).iter().filter(fits).count() == 0).then(|| no("fits none of")),
            "oneOf" => {
                (list(wanted).iter().filter(fits).count() != 1).then(|| no("fits not one of"))
            }
            "items" => value.as_array()?.iter().find_map(|item| self.breach(wanted, item)),
            "required" => {
                let value = value.as_object()?;
                let missing = list(wanted).iter().find(|name| !value.contains_key(text(name)));
                missing.map(|name| format!("{name} is missing"))
            }
            "properties" => value.as_object()?.iter().find_map(|(name, value)| {
                let why = self.breach(wanted.get(name)?, value)?;
                Some(format!("{name}: {why}"))
            }),
            "additionalProperties" if *wanted == Value::Bool(false) => {
                let known = &schema["properties"];
                let unknown = value.as_object()?.keys().find(|name| known.get(name).is_none());
                unknown.map(|name| format!("{name} is not foreseen"))
            }
            unknown => panic!("{unknown} is not checked"),
        }
    }
}

fn is_a(value: &Value, wanted: &Value) -> bool {
    match text(wanted) {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        unknown => panic!("{unknown} is no type"),
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}
