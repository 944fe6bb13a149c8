//! The field list of each version against its wire structs, and the golden files against both.

use std::collections::BTreeSet;
use std::fs;

use einhorn::schema::describe;
use serde_yaml::Value;

use super::{VERSIONS, folder, golden, root};

/// A wire type as its source declares it.
struct Wire {
    version: u16,
    name: String,
    /// Fields with their types; variants of an enum with their numbers, their fields behind them
    /// under `Variant.field`.
    rows: Vec<(String, String)>,
}

#[test]
fn every_wire_field_is_documented() {
    for version in VERSIONS {
        let page = format!("state-schema/v{version}/fields.md");
        let document = fs::read_to_string(folder(*version).join("fields.md")).expect(&page);
        let sections: Vec<&str> = document.split("\n## ").skip(1).collect();
        let names: Vec<&str> =
            sections.iter().map(|section| section.lines().next().unwrap_or_default()).collect();
        let types = types(*version);
        let expected: Vec<&str> = types.iter().map(|wire| wire.name.as_str()).collect();
        assert_eq!(names, expected, "the sections of {page}, in the order of the source");
        for (wire, section) in types.iter().zip(sections) {
            let rows = section.lines().filter(|line| line.starts_with("| `"));
            let rows: Vec<Vec<&str>> = rows.map(|row| row.split(" | ").collect()).collect();
            let bare = |cell: &str| cell.trim_start_matches("| ").replace('`', "");
            let documented: Vec<(String, String)> =
                rows.iter().map(|row| (bare(row[0]), bare(row[1]))).collect();
            assert_eq!(documented, wire.rows, "{page}, {}", wire.name);
            for row in rows {
                let is_full = row.len() == 5 && row.iter().all(|cell| !cell.trim().is_empty());
                assert!(is_full, "{page}, {}: {row:?} has an empty column", wire.name);
            }
        }
    }
}

#[test]
fn golden_states_use_every_field_and_variant() {
    for version in VERSIONS {
        let types: Vec<Wire> = (1..=*version).flat_map(types).collect();
        let mut used = BTreeSet::new();
        for golden in golden::all(*version) {
            let text = describe(&golden.bytes()).expect(golden.name);
            // The YAML reader knows no integer of 128 bits.
            let text = text.replace(&i128::MIN.to_string(), "1");
            let value: Value = serde_yaml::from_str(&text).expect("YAML");
            note(&types, *version, "Handover", &value["handover"], &mut used);
        }
        for wire in types.iter().filter(|wire| wire.version == *version) {
            for (row, _) in &wire.rows {
                let row = format!("v{version}::{}.{row}", wire.name);
                assert!(used.contains(&row), "no golden state has {row} off its default");
            }
        }
    }
}

/// Notes what a value has off its default, by the wire type that it is of, as a version calls it.
fn note(types: &[Wire], version: u16, of: &str, value: &Value, used: &mut BTreeSet<String>) {
    let named = of.strip_prefix('v').and_then(|of| of.split_once("::"));
    if let Some((older, of)) = named {
        note(types, older.parse().expect("a version"), of, value, used);
    } else if let Some(item) = of.strip_prefix("Vec<").and_then(|rest| rest.strip_suffix('>')) {
        for value in value.as_sequence().expect("a list") {
            note(types, version, item, value, used);
        }
    } else if let Some(some) = of.strip_prefix("Option<").and_then(|rest| rest.strip_suffix('>')) {
        if !value.is_null() {
            note(types, version, some, value, used);
        }
    } else if let Some(wire) = types.iter().find(|w| (w.version, w.name.as_str()) == (version, of))
    {
        let of = format!("v{version}::{of}");
        let (prefix, value) = match value {
            Value::String(variant) => (format!("{variant}."), &Value::Null),
            Value::Tagged(tagged) => {
                (format!("{}.", tagged.tag.to_string().trim_start_matches('!')), &tagged.value)
            }
            _ => (String::new(), value),
        };
        used.insert(format!("{of}.{}", prefix.trim_end_matches('.')));
        for (row, kind) in &wire.rows {
            let Some(field) = row.strip_prefix(&prefix) else { continue };
            let Some(value) = value.get(field) else { continue };
            if is_off_default(value) {
                used.insert(format!("{of}.{row}"));
            }
            note(types, version, kind, value, used);
        }
    }
}

fn is_off_default(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Sequence(list) => !list.is_empty(),
        Value::Mapping(_) | Value::Tagged(_) => true,
    }
}

/// The wire types of a version, in the order of the source; those of an older one that it goes on
/// using are not among them.
fn types(version: u16) -> Vec<Wire> {
    let files = ["mod", "state", "config", "upgrade", "captured", "descriptors"];
    let paths = files.map(|file| root().join(format!("src/schema/v{version}/{file}.rs")));
    let sources: Vec<String> =
        paths.iter().filter_map(|path| fs::read_to_string(path).ok()).collect();
    let mut found: Vec<Wire> = Vec::new();
    let mut is_inside = false;
    for line in sources.iter().flat_map(|source| source.lines()) {
        let declared = ["struct", "enum"]
            .iter()
            .find_map(|kind| line.strip_prefix(&format!("pub(in crate::schema) {kind} ")));
        if let Some(name) = declared.and_then(|rest| rest.strip_suffix(" {")) {
            found.push(Wire { version, name: name.to_owned(), rows: Vec::new() });
            is_inside = true;
        } else if line == "}" {
            is_inside = false;
        } else if is_inside {
            let rows = &mut found.last_mut().expect("a type").rows;
            declare(line.trim().trim_end_matches(','), rows);
        }
    }
    assert!(found.len() > 15, "only {} wire types were found", found.len());
    found
}

/// Adds what a line of a declaration declares.
fn declare(line: &str, rows: &mut Vec<(String, String)>) {
    let field = |field: &str| {
        let (name, kind) = field.split_once(": ").expect("a field");
        (name.trim_start_matches("pub ").to_owned(), kind.to_owned())
    };
    if let Some((name, fields)) = line.split_once(" { ") {
        declare(name, rows);
        for declared in fields.trim_end_matches(" }").split(", ") {
            let (inner, kind) = field(declared);
            rows.push((format!("{name}.{inner}"), kind));
        }
    } else if line.contains(": ") {
        rows.push(field(line));
    } else {
        let number = rows.iter().filter(|(name, _)| !name.contains('.')).count();
        let (name, inner) = line.split_once('(').unwrap_or((line, ""));
        let inner = inner.trim_end_matches(')');
        let inner = if inner.is_empty() { String::new() } else { format!(", {inner}") };
        rows.push((name.to_owned(), format!("{number}{inner}")));
    }
}
