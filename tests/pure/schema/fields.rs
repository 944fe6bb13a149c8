//! The page of fields against the sections' source, and the golden files against both.

use std::collections::BTreeSet;
use std::fs;

use einhorn::schema::describe;
use serde_yaml::Value;

use super::{folder, golden, root};

/// A type as its source declares it.
struct Frozen {
    name: String,
    /// The name of the section, if it is one, and its kind.
    section: Option<(String, String)>,
    /// Fields with their types; variants of an enum with their numbers, their fields behind them
    /// under `Variant.field`.
    rows: Vec<(String, String)>,
}

/// What the page says of a kind.
const KINDS: [(&str, &str); 3] = [
    ("Base", "In every state."),
    ("Critical", "Critical."),
    ("Other", "A release that does not know it skips it."),
];

#[test]
fn every_field_is_documented() {
    let page = fs::read_to_string(folder().join("fields.md")).expect("the page of fields");
    let parts: Vec<&str> = page.split("\n## ").skip(1).flat_map(|p| p.split("\n### ")).collect();
    let names: Vec<&str> = parts.iter().map(|part| part.lines().next().unwrap_or("")).collect();
    let types = types();
    let title = |frozen: &Frozen| match &frozen.section {
        Some((name, _)) => name.clone(),
        None => frozen.name.clone(),
    };
    let mut expected: Vec<String> = types.iter().map(title).collect();
    let shared = types.iter().position(|frozen| frozen.name == "Failure").expect("shared types");
    expected.insert(shared, "In several sections".to_owned());
    assert_eq!(names, expected, "the parts of the page, in the order of the source");
    let parts = parts.iter().filter(|part| !part.starts_with("In several sections"));
    for (frozen, part) in types.iter().zip(parts) {
        if let Some((name, kind)) = &frozen.section {
            let (_, words) = KINDS.iter().find(|(known, _)| known == kind).expect("a kind");
            let is_told = part.lines().nth(2).is_some_and(|line| line.starts_with(words));
            assert!(is_told, "the page does not say of {name}: {words}");
        }
        let rows = part.lines().filter(|line| line.starts_with("| `"));
        let rows: Vec<Vec<&str>> = rows.map(|row| row.split(" | ").collect()).collect();
        let bare = |cell: &str| cell.trim_start_matches("| ").replace('`', "");
        let documented: Vec<(String, String)> =
            rows.iter().map(|row| (bare(row[0]), bare(row[1]))).collect();
        assert_eq!(documented, frozen.rows, "{}", frozen.name);
        for row in rows {
            let is_full = row.len() == 5 && row.iter().all(|cell| !cell.trim().is_empty());
            assert!(is_full, "{}: {row:?} has an empty column", frozen.name);
        }
    }
}

#[test]
fn golden_states_use_every_field_and_variant() {
    let types = types();
    let mut used = BTreeSet::new();
    for golden in golden::all().into_iter().chain(golden::next()) {
        let text = describe(&golden.bytes()).expect(golden.name);
        // The YAML reader knows no integer of 128 bits.
        let text = text.replace(&i128::MIN.to_string(), "1");
        let value: Value = serde_yaml::from_str(&text).expect("YAML");
        for frozen in &types {
            let Some((section, _)) = &frozen.section else { continue };
            note(&types, &frozen.name, &value[section.as_str()], &mut used);
        }
    }
    for frozen in types.iter().filter(|frozen| is_known(frozen)) {
        for (row, _) in &frozen.rows {
            let row = format!("{}.{row}", frozen.name);
            assert!(used.contains(&row), "no golden state has {row} off its default");
        }
    }
}

/// Whether this build knows a section.
fn is_known(frozen: &Frozen) -> bool {
    cfg!(feature = "next") || !["Note", "Hint"].contains(&frozen.name.as_str())
}

/// Notes what a value has off its default, by the type that it is of.
fn note(types: &[Frozen], of: &str, value: &Value, used: &mut BTreeSet<String>) {
    let inside = |list: &str| of.strip_prefix(list).and_then(|rest| rest.strip_suffix('>'));
    if let Some(item) = inside("Vec<") {
        value.as_sequence().expect("a list").iter().for_each(|v| note(types, item, v, used));
    } else if let Some((_, item)) = inside("BTreeMap<").and_then(|pair| pair.split_once(", ")) {
        let map = value.as_mapping().expect("a map");
        map.values().for_each(|value| note(types, item, value, used));
    } else if let Some(some) = inside("Option<") {
        if !value.is_null() {
            note(types, some, value, used);
        }
    } else if let Some(frozen) = types.iter().find(|frozen| frozen.name == of) {
        let (prefix, value) = match value {
            Value::String(variant) => (format!("{variant}."), &Value::Null),
            Value::Tagged(tagged) => {
                (format!("{}.", tagged.tag.to_string().trim_start_matches('!')), &tagged.value)
            }
            _ => (String::new(), value),
        };
        used.insert(format!("{of}.{}", prefix.trim_end_matches('.')));
        for (row, kind) in &frozen.rows {
            let Some(field) = row.strip_prefix(&prefix) else { continue };
            let Some(value) = value.get(field) else { continue };
            if is_off_default(value) {
                used.insert(format!("{of}.{row}"));
            }
            note(types, kind, value, used);
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

/// Every section in the order of the rows, each with the types of its file behind it, and then what
/// several are made of.
fn types() -> Vec<Frozen> {
    let source = |name: &str| {
        let path = root().join("src/schema").join(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    let rows = source("sections/mod.rs");
    let rows = rows.lines().filter_map(|line| line.trim().strip_prefix("Row::of::<"));
    let files = rows.filter_map(|row| Some(format!("sections/{}.rs", row.split_once("::")?.0)));
    let files: Vec<String> = files.chain(["wire.rs".to_owned()]).collect();
    let in_folder = fs::read_dir(root().join("src/schema/sections")).expect("the sections");
    assert_eq!(in_folder.count(), files.len(), "a file that is no section, or without a row");
    let mut found: Vec<Frozen> = Vec::new();
    let (mut is_inside, mut is_column) = (false, false);
    let mut columns = Vec::new();
    let text: String = files.iter().map(|file| source(file)).collect();
    for line in text.lines() {
        let declared = ["struct ", "enum "].iter().find_map(|kind| line.trim().strip_prefix(kind));
        if line.ends_with("! {") {
            is_column = line == "column! {";
        }
        if let Some(declared) = declared {
            found.push(begin(declared));
            columns.extend(is_column.then_some(found.len() - 1));
            // A column stands in one line.
            is_inside = !line.ends_with('}');
        } else if line == "    }" {
            is_inside = false;
        } else if is_inside && !line.trim().starts_with("..") {
            let frozen = found.last_mut().expect("a type");
            declare(line.trim().trim_end_matches(','), &mut frozen.rows);
        }
    }
    let names: BTreeSet<&str> = found.iter().map(|frozen| frozen.name.as_str()).collect();
    assert_eq!(names.len(), found.len(), "two types have a name");
    assert!(found.len() > 40, "only {} types were found", found.len());
    // A column is written as a map from pids.
    for column in columns {
        found[column]
            .rows
            .iter_mut()
            .for_each(|(_, kind)| *kind = format!("BTreeMap<Pid, {kind}>"));
    }
    found
}

/// What the first line of a declaration says.
fn begin(declared: &str) -> Frozen {
    let declared = declared.trim_end_matches(" {");
    match declared.split_once(": ") {
        Some((name, section)) => {
            let (kind, section) = section.split_once(' ').expect("a kind and a name");
            let section = Some((section.trim_matches('"').to_owned(), kind.to_owned()));
            Frozen { name: name.to_owned(), section, rows: Vec::new() }
        }
        None => {
            let (name, _) = declared.split_once(" of ").expect("a frozen type");
            Frozen { name: name.to_owned(), section: None, rows: Vec::new() }
        }
    }
}

/// Adds what a line of a declaration declares.
fn declare(line: &str, rows: &mut Vec<(String, String)>) {
    let field = |field: &str| {
        let (name, kind) = field.split_once(": ").expect("a field");
        let kind = kind.split_once(" = ").map_or(kind, |(kind, _)| kind);
        (name.to_owned(), kind.to_owned())
    };
    let name = line.split([':', ' ', '(']).next().expect("a name");
    let rest = &line[name.len()..];
    if rest.starts_with(':') {
        return rows.push(field(line));
    }
    let number = rows.iter().filter(|(name, _)| !name.contains('.')).count();
    rows.push((name.to_owned(), number.to_string()));
    let inner = rest.trim_matches([' ', '{', '}', '(', ')']);
    for declared in inner.split(", ").filter(|inner| !inner.is_empty()) {
        let (inner, kind) = field(declared);
        rows.push((format!("{name}.{inner}"), kind));
    }
}
