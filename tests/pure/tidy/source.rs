//! Reads the tree: files by folder, and Rust source without its comments and literals.

use std::fs;
use std::path::{Path, PathBuf};

/// A text file of the tree.
pub(super) struct Source {
    /// Its path, relative to the root of the tree.
    pub(super) path: String,
    /// What it says.
    pub(super) text: String,
    /// The same, line for line, with comments and literals blanked; of Rust files only.
    pub(super) code: String,
}

impl Source {
    /// The lines of code with their numbers.
    pub(super) fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.code.lines())
    }

    /// The room that a file of `src` belongs to: `src/state/time.rs` to `state`, `src/cli.rs` to
    /// `cli`.
    pub(super) fn room(&self) -> &str {
        let inside = self.path.strip_prefix("src/").unwrap_or(&self.path);
        let first = inside.split('/').next().unwrap_or(inside);
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// A breach of a rule at a line.
    pub(super) fn at(&self, line: usize, what: impl AsRef<str>) -> String {
        format!("{}:{line}: {}", self.path, what.as_ref())
    }
}

/// The Rust files of some folders, in the order of their paths.
pub(super) fn rust_files(folders: &[&str]) -> Vec<Source> {
    let sources: Vec<Source> = files()
        .into_iter()
        .filter(|path| path.ends_with(".rs"))
        .filter(|path| folders.iter().any(|folder| path.starts_with(&format!("{folder}/"))))
        .map(read)
        .collect();
    assert!(!sources.is_empty(), "no Rust files under {folders:?}");
    sources
}

/// Every file of the tree; what cargo, the fuzzers and git made is none of it.
pub(super) fn files() -> Vec<String> {
    let mut found = Vec::new();
    collect(Path::new(""), &mut found);
    found.sort();
    found
}

/// Reads a file by its path in the tree. Bytes that are not UTF-8 (in the corpus) are replaced.
pub(super) fn read(path: impl Into<String>) -> Source {
    let path = path.into();
    let bytes = fs::read(root().join(&path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let code = if path.ends_with(".rs") { code_of(&text) } else { String::new() };
    Source { path, text, code }
}

/// The root of the tree.
pub(super) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn collect(folder: &Path, found: &mut Vec<String>) {
    const MADE: &[&str] = &[".git", "target", "fuzz/target", "fuzz/artifacts", "fuzz/coverage"];
    let entries = fs::read_dir(root().join(folder)).expect("a folder of the tree");
    for entry in entries.map(|entry| entry.expect("an entry of the tree")) {
        let path = folder.join(entry.file_name());
        let name = path.to_str().expect("a UTF-8 path").to_owned();
        if MADE.contains(&name.as_str()) {
            continue;
        }
        match entry.file_type().expect("a type").is_dir() {
            true => collect(&path, found),
            false => found.push(name),
        }
    }
}

/// Blanks comments, strings and character literals; every line keeps its number.
fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let word = code.ends_with(|before: char| before.is_alphanumeric() || before == '_');
        let length = literal_or_comment(rest, word);
        if length == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            code.extend(rest[..length].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            rest = &rest[length..];
        }
    }
    code
}

/// How many bytes of a comment or literal `rest` begins with; `in_word` when a word goes before.
fn literal_or_comment(rest: &str, in_word: bool) -> usize {
    let until = |from: usize, end: &str| {
        rest[from..].find(end).map_or(rest.len(), |found| from + found + end.len())
    };
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return until(2, "*/");
    }
    if rest.starts_with('"') {
        return quoted(rest, '"');
    }
    if rest.starts_with('\'') {
        // A lifetime has no closing quote after its first character.
        let mut after = rest.chars().skip(1);
        let escaped = after.next() == Some('\\');
        return if escaped || after.next() == Some('\'') { quoted(rest, '\'') } else { 0 };
    }
    if let (Some(raw), false) = (rest.strip_prefix('r'), in_word) {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            return until(hashes + 2, &format!("\"{}", "#".repeat(hashes)));
        }
    }
    0
}

/// How long a literal with backslash escapes is that begins with its quote.
fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (index, character) in rest.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if character == quote => return index + 1,
            _ => {}
        }
    }
    rest.len()
}

#[test]
fn comments_and_literals_are_no_code() {
    let text =
        "a(\"x // \\\" y\", 'z', '\\'', b\"w\") // v\nr#\"u\"t\"# /* s\n */ for<'q> bar\"o\"";
    let code = code_of(text);
    let words: Vec<&str> = code.split(|c: char| !c.is_alphanumeric()).collect();
    let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
    assert_eq!(words, ["a", "b", "for", "q", "bar"]);
    assert_eq!(code.lines().count(), text.lines().count());
}
