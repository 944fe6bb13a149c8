//! JSON documents against the schemas of `docs/`.

use serde_json::Value;

/// Says where a document is not as a schema has it.
pub(crate) fn breach(schema: &str, document: &str) -> Option<String> {
    let schema: Value = serde_json::from_str(schema).expect("a schema is JSON");
    jsonschema::meta::validate(&schema).expect("the schema is one");
    let validator = jsonschema::validator_for(&schema).expect("the schema can be used");
    let document: Value = match serde_json::from_str(document) {
        Ok(document) => document,
        Err(error) => return Some(error.to_string()),
    };
    let breaches = validator.iter_errors(&document);
    let breaches = breaches.map(|error| format!("{} {error}", error.instance_path()));
    let breaches: Vec<String> = breaches.collect();
    (!breaches.is_empty()).then(|| format!("{} in {document}", breaches.join(", ")))
}
