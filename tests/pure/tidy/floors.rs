//! An import goes down only, from room to room, and the documents tell the floors that the imports
//! have.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{Source, read, rust_files};
use super::{is_word, mentions, refuse};

/// The rooms, and what each imports besides itself: all of it, and nothing else.
const ROOMS: &[(&str, &[&str])] = &[
    ("lib", &[]),
    ("scalar", &[]),
    ("outcome", &[]),
    ("sys", &[]),
    ("state", &["scalar", "outcome"]),
    ("protocol", &["scalar", "outcome"]),
    ("cli", &["state", "protocol"]),
    ("client", &["scalar", "protocol"]),
    ("preflight", &["state"]),
    ("schema", &["scalar", "outcome", "state"]),
    ("status", &["outcome", "state", "protocol"]),
    ("ruby", &["scalar", "state", "protocol", "schema"]),
    ("bin", &["outcome", "state", "protocol", "sys", "cli", "client", "status"]),
    ("decide", &["scalar", "outcome", "state", "protocol", "status", "ruby"]),
    (
        "master",
        &["sys", "state", "protocol", "cli", "preflight", "schema", "status", "ruby", "decide"],
    ),
    ("main", &["sys", "cli", "schema", "master"]),
];

#[test]
fn imports_go_down() {
    let mut breaches = Vec::new();
    let mut seen = BTreeSet::new();
    for source in rust_files(&["src"]) {
        let room = source.room();
        let Some((room, below)) = ROOMS.iter().find(|(name, _)| *name == room) else {
            breaches.push(source.at(1, format!("`{room}` has no floor: give it one in ROOMS")));
            continue;
        };
        for (number, imported) in imports(&source) {
            if imported != *room && !below.contains(&imported) {
                breaches.push(source.at(number, format!("`{room}` must not use `{imported}`")));
            }
            seen.insert((*room, imported.to_owned()));
        }
    }
    for (room, below) in ROOMS {
        let unused = below.iter().filter(|name| !seen.contains(&(*room, (**name).to_owned())));
        breaches.extend(unused.map(|name| format!("`{room}` does not use `{name}`")));
    }
    refuse(breaches, "an import goes down only, one room a path, by the table ROOMS");
}

#[test]
fn the_architecture_tells_the_floors_that_the_imports_have() {
    let mut floors = BTreeMap::from([("lib", 0)]);
    for (room, below) in ROOMS {
        let below = below.iter().map(|name| floors.get(name).copied());
        let highest = below.collect::<Option<Vec<usize>>>().expect("ROOMS goes from the ground up");
        floors.insert(*room, highest.into_iter().max().map_or(0, |floor| floor + 1));
    }
    let page = read("docs/architecture.md");
    let told = |floor: usize, room: &str| {
        let row = format!("| {floor} | `src/{room}");
        let ends = |rest: &str| rest.starts_with(['/', '.']);
        page.text.lines().any(|line| line.strip_prefix(&row).is_some_and(ends))
    };
    let others = floors.iter().filter(|(room, floor)| **room != "lib" && !told(**floor, room));
    let breaches = others.map(|(room, floor)| page.at(1, format!("`{room}` is on floor {floor}")));
    refuse(breaches.collect(), "docs/architecture.md tells the floor of every room");
}

/// What every path from the root of the crate leads to: a room, or something that is none.
fn imports(source: &Source) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for (number, line) in source.code_lines() {
        for root in ["crate::", "einhorn::", "super::"] {
            for at in mentions(line, root) {
                let rest = &line[at + root.len()..];
                let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len()).max(1);
                let imported = &rest[..end.min(rest.len())];
                // Inside a room `super` leads to its own modules, as a rule.
                if root != "super::" || ROOMS.iter().any(|(room, _)| *room == imported) {
                    found.push((number, imported));
                }
            }
        }
    }
    found
}
