//! What is public is used by somebody else.
//!
//! It is looked for by its name alone, so that a name which stands twice is taken to be used. Types
//! are left out: one is public as well where only a public function answers it.

use std::collections::BTreeSet;

use super::circles::split;
use super::source::{Source, rust_files};
use super::{is_word, refuse};

#[test]
fn what_is_public_is_used_by_another_file() {
    let sources = rust_files(&["src", "tests", "fuzz", "examples"]);
    let named: Vec<BTreeSet<String>> = sources.iter().map(names).collect();
    let mut breaches = Vec::new();
    for (source, own) in sources.iter().zip(&named).filter(|(it, _)| it.path.starts_with("src")) {
        for (line, code) in source.code_lines() {
            let is_used = |name: &str| {
                named.iter().any(|names| !std::ptr::eq(names, own) && names.contains(name))
            };
            let unused = public(code).filter(|name| !is_used(name));
            breaches.extend(unused.map(|name| source.at(line, format!("nobody uses `{name}`"))));
        }
    }
    refuse(breaches, "what is public is used by another file than its own");
}

/// The function or constant that a line makes public.
fn public(line: &str) -> Option<&str> {
    let words: Vec<&str> = line.split_whitespace().collect();
    words.first().filter(|first| first.starts_with("pub"))?;
    let is = |kind: &str| words.iter().position(|word| *word == kind);
    words.get(is("fn").or(is("const"))? + 1)?.split(|c| !is_word(c)).next()
}

/// Every name in a file, those that it only passes on left aside.
fn names(source: &Source) -> BTreeSet<String> {
    let (uses, rest) = split(source);
    let uses = uses.iter().filter(|(_, text)| !text.starts_with("pub"));
    let texts = uses.map(|(_, text)| text.as_str()).chain([rest.as_str()]);
    texts.flat_map(|text| text.split(|c| !is_word(c)).map(str::to_owned)).collect()
}

#[test]
fn public_names_are_found() {
    for line in ["pub fn a() {", "    pub(super) const fn a(", "pub(in b::c) const a: u8 = 1;"] {
        assert_eq!(public(line), Some("a"), "{line}");
    }
    for line in ["fn a() {", "pub struct A {", "pub use a;", "pub a: fn(u8),"] {
        assert_eq!(public(line), None, "{line}");
    }
}
