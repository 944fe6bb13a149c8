//! No two files of `src` import each other, straight or round a corner.
//!
//! An import is a path that begins with `crate`, `einhorn`, `self`, `super` or a module that the
//! file declares, in a `use` or anywhere else in code. It leads to the file that defines what it
//! names: through the modules, and through what a `mod.rs` passes on with `pub use`. To declare a
//! module or to pass on a name is none, unless the file uses the name as well.
//!
//! What it does not see: a method that is called on a value, whose `impl` may stand in any file of
//! the crate, and names that a macro makes.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{Source, rust_files};
use super::{is_word, mentions, refuse};

/// The files, and what each passes on.
struct Tree {
    sources: BTreeMap<String, Source>,
    passed_on: BTreeMap<String, BTreeMap<String, Vec<String>>>,
}

/// By importing and imported file, the line of the import.
type Imports = BTreeMap<(String, String), usize>;

#[test]
fn no_two_files_import_each_other() {
    let mut imports = imports_of(&Tree::new(rust_files(&["src"])));
    let mut breaches = Vec::new();
    while let Some(circle) = circle(&imports) {
        let at = |import: &(String, String)| {
            format!("{}:{}: imports {}", import.0, imports[import], import.1)
        };
        breaches.push(circle.iter().map(at).collect::<Vec<_>>().join(", which\n  "));
        imports.remove(&circle[0]);
    }
    refuse(breaches, "no two files import each other, straight or round a corner");
}

#[test]
fn circles_are_found() {
    let source = |path: &str, code: &str| Source {
        path: path.to_owned(),
        text: code.to_owned(),
        code: code.to_owned(),
    };
    let found = |a: &str, b: &str| {
        let tree = Tree::new(vec![
            source("src/lib.rs", "pub mod a;\npub mod b;\npub mod c;"),
            source("src/a.rs", a),
            source("src/b/mod.rs", "mod d;\npub use d::{D as E, f};\npub fn g() {}"),
            source("src/b/d.rs", b),
            source("src/c.rs", "fn h() {}"),
        ]);
        circle(&imports_of(&tree)).is_some()
    };
    for a in ["use crate::b::E;", "fn x() { crate::b::f() }", "use super::b::{g, f};"] {
        assert!(found(a, "use crate::{a::Y, c};"), "{a}");
        assert!(!found(a, "use crate::c::Y;\nmod tests { use super::*; }"), "{a}");
    }
    assert!(!found("use crate::b::g;", "use crate::a::Y;"), "it is not in that file");
    assert!(!found("fn x() {}", "use crate::b::{self, g};\nuse super::f;"));
}

impl Tree {
    fn new(sources: Vec<Source>) -> Tree {
        let sources: BTreeMap<String, Source> =
            sources.into_iter().map(|source| (source.path.clone(), source)).collect();
        let passed_on = sources.iter().map(|(path, source)| (path.clone(), passed_on(source)));
        let passed_on = passed_on.collect();
        Tree { sources, passed_on }
    }

    /// The file of a module that another declares.
    fn child(&self, parent: &str, name: &str) -> Option<String> {
        let (folder, file) = parent.rsplit_once('/')?;
        if !["lib.rs", "main.rs", "mod.rs"].contains(&file) {
            return None;
        }
        let found = [format!("{folder}/{name}.rs"), format!("{folder}/{name}/mod.rs")];
        found.into_iter().find(|path| self.sources.contains_key(path))
    }

    fn parent(&self, path: &str) -> Option<String> {
        let (folder, file) = path.rsplit_once('/')?;
        let folder = if file == "mod.rs" { folder.rsplit_once('/')?.0 } else { folder };
        let found = ["mod.rs", "lib.rs", "main.rs"].map(|name| format!("{folder}/{name}"));
        found.into_iter().find(|found| found != path && self.sources.contains_key(found))
    }

    fn root(&self, path: &str) -> String {
        match self.parent(path).filter(|_| path != "src/main.rs") {
            Some(parent) if parent != "src/lib.rs" => self.root(&parent),
            Some(root) => root,
            None => path.to_owned(),
        }
    }

    /// The file that defines what a path in another file names; `None` for what is not ours.
    fn resolve(&self, from: &str, path: &[String]) -> Option<String> {
        let (first, mut rest) = path.split_first()?;
        let mut file = match first.as_str() {
            "crate" => self.root(from),
            "einhorn" => "src/lib.rs".to_owned(),
            "self" => from.to_owned(),
            "super" => self.parent(from)?,
            module => self.child(from, module)?,
        };
        while let Some((name, further)) = rest.split_first() {
            if name == "super" {
                file = self.parent(&file)?;
            } else if let Some(child) = self.child(&file, name) {
                file = child;
            } else if let Some(path) = self.passed_on[&file].get(name) {
                return self.resolve(&file, &[path, further].concat());
            } else {
                break;
            }
            rest = further;
        }
        Some(file)
    }
}

fn imports_of(tree: &Tree) -> Imports {
    let mut imports = Imports::new();
    for (path, source) in &tree.sources {
        let mut add = |line: usize, named: &[String]| {
            if let Some(to) = tree.resolve(path, named).filter(|to| to != path) {
                imports.entry((path.clone(), to)).or_insert(line);
            }
        };
        let (uses, code) = split(source);
        for (line, named) in paths(&code) {
            add(line, &named);
        }
        for (line, text) in &uses {
            let passes_on = text.starts_with("pub");
            for (name, named) in expand(text) {
                if !passes_on || mentions(&code, &name).next().is_some() {
                    add(*line, &named);
                }
            }
        }
    }
    imports
}

fn passed_on(source: &Source) -> BTreeMap<String, Vec<String>> {
    let (uses, _) = split(source);
    uses.iter().filter(|(_, text)| text.starts_with("pub")).flat_map(|(_, it)| expand(it)).collect()
}

/// The `use` declarations with their lines, and the rest of the code, line for line. What a module
/// within a file calls `super` is the file.
pub(super) fn split(source: &Source) -> (Vec<(usize, String)>, String) {
    let (mut uses, mut rest) = (Vec::<(usize, String)>::new(), String::new());
    let (mut is_open, mut is_within) = (false, false);
    for (number, line) in source.code_lines() {
        is_within = (is_within || line.starts_with("mod ") && line.ends_with('{')) && line != "}";
        let line = if is_within { line.replace("super::", "self::") } else { line.to_owned() };
        // For whom a name is meant imports nothing.
        let line = line.replace("pub(in crate::", "pub(in ");
        let word = line.trim_start();
        let before = word.split_once("use ").map(|(before, _)| before.trim());
        let begins = before.is_some_and(|it| it.is_empty() || it.starts_with("pub"));
        if begins {
            uses.push((number, word.to_owned()));
        } else if is_open {
            uses.last_mut().expect("one that is open").1.push_str(&line);
        } else {
            rest.push_str(&line);
        }
        is_open = (begins || is_open) && !line.contains(';');
        rest.push('\n');
    }
    (uses, rest)
}

/// The names that a `use` declares, and the path of each.
fn expand(text: &str) -> Vec<(String, Vec<String>)> {
    let tree = text.split_once("use ").map_or("", |(_, tree)| tree).trim_end_matches([';', ' ']);
    let mut found = Vec::new();
    branches(&[], tree, &mut found);
    found
}

fn branches(before: &[String], tree: &str, found: &mut Vec<(String, Vec<String>)>) {
    let (path, inner) = tree.split_once('{').unwrap_or((tree, ""));
    let (path, alias) = path.split_once(" as ").unwrap_or((path, ""));
    let names = path.split("::").map(str::trim).filter(|name| !name.is_empty());
    let mut path = [before, &names.map(str::to_owned).collect::<Vec<_>>()].concat();
    if !tree.contains('{') {
        if path.last().is_some_and(|last| last == "self") {
            path.pop();
        }
        let name = if alias.is_empty() { path.last().cloned() } else { Some(alias.to_owned()) };
        return found.extend(name.map(|name| (name, path)));
    }
    let inner = inner.rsplit_once('}').map_or(inner, |(inner, _)| inner);
    let (mut depth, mut start) = (0, 0);
    for (at, character) in inner.char_indices().chain([(inner.len(), ',')]) {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let branch = inner[start..at].trim();
                if !branch.is_empty() {
                    branches(&path, branch, found);
                }
                start = at + 1;
            }
            _ => {}
        }
    }
}

/// Every path of two names or more in code, with its line.
fn paths(code: &str) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    for (number, line) in (1..).zip(code.lines()) {
        for word in line.split(|c| !is_word(c) && c != ':') {
            let names: Vec<String> = word.split("::").map(str::to_owned).collect();
            if names.len() > 1 && !names[0].contains(':') && !names[0].is_empty() {
                found.push((number, names));
            }
        }
    }
    found
}

/// A circle of imports, if there is one.
fn circle(imports: &Imports) -> Option<Vec<(String, String)>> {
    let mut left: BTreeSet<&(String, String)> = imports.keys().collect();
    loop {
        let importing: BTreeSet<&String> = left.iter().map(|(from, _)| from).collect();
        let before = left.len();
        // Whatever imports nothing that imports is in no circle.
        left.retain(|(_, to)| importing.contains(to));
        if left.len() == before {
            break;
        }
    }
    let mut way = vec![*left.first()?];
    loop {
        let (_, to) = way[way.len() - 1];
        if let Some(start) = way.iter().position(|(from, _)| from == to) {
            return Some(way[start..].iter().map(|&import| import.clone()).collect());
        }
        way.push(left.iter().find(|(from, _)| from == to)?);
    }
}

#[test]
fn uses_are_understood() {
    let found = expand("pub(crate) use a::{self, b::{C as D, e}, f};");
    let found: Vec<(String, String)> =
        found.into_iter().map(|(name, path)| (name, path.join("::"))).collect();
    let expected = [("a", "a"), ("D", "a::b::C"), ("e", "a::b::e"), ("f", "a::f")];
    assert_eq!(found, expected.map(|(name, path)| (name.to_owned(), path.to_owned())));
}
