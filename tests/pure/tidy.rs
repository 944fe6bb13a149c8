//! The rules that the tree keeps, each a test that names file and line of every breach.

mod circles;
mod floors;
mod public;
mod source;

use einhorn::protocol::COMMANDS;
use source::{Source, files, read, root, rust_files};

/// The rooms that make no system call and read no clock, environment or randomness.
const PURE_ROOMS: &[&str] =
    &["scalar", "outcome", "state", "protocol", "preflight", "ruby", "status", "decide", "schema"];

/// A file with more lines of code than this is asked why.
const FILE_LINES_MAX: usize = 400;

/// As in `rustfmt.toml`, which does not break strings and comments.
const COLUMNS_MAX: usize = 100;

#[test]
fn only_sys_is_unsafe_and_names_the_kernels_crates() {
    let outside = rust_files(&["src"]).into_iter().filter(|source| source.room() != "sys");
    let breaches = banned(outside, &["unsafe", "nix::", "libc::", "use nix", "use libc"]);
    refuse(breaches, "only src/sys is unsafe or names nix or libc");
}

#[test]
fn the_pure_rooms_ask_nothing_of_the_system() {
    let pure =
        rust_files(&["src"]).into_iter().filter(|source| PURE_ROOMS.contains(&source.room()));
    let pure = pure.map(|source| Source {
        code: source.code.replace("std::os::unix::ffi", "std::ffi"),
        ..source
    });
    let effects = [
        "std::env",
        "std::fs",
        "std::net",
        "std::os",
        "std::process",
        "std::thread",
        "std::{",
        "Instant::now",
        "SystemTime",
    ];
    refuse(banned(pure, &effects), "no effects and no clock in the pure rooms");
}

#[test]
fn files_and_lines_stay_short() {
    let mut breaches = Vec::new();
    for source in rust_files(&["src", "tests", "fuzz"]) {
        let lines = source.text.lines().take_while(|line| line.trim() != "#[cfg(test)]");
        let lines = lines.map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//"));
        let count = lines.count();
        if count > FILE_LINES_MAX {
            breaches.push(source.at(1, format!("{count} lines of code, not {FILE_LINES_MAX}")));
        }
        for (number, line) in (1..).zip(source.text.lines()) {
            let columns = line.chars().count();
            if columns > COLUMNS_MAX {
                breaches.push(source.at(number, format!("{columns} columns, not {COLUMNS_MAX}")));
            }
        }
    }
    refuse(breaches, "small files, short lines");
}

#[test]
fn no_test_is_ignored() {
    refuse(banned(rust_files(&["src", "tests"]), &["#[ignore"]), "every test runs");
}

#[test]
fn no_module_is_a_drawer() {
    const DRAWERS: &[&str] = &["util", "utils", "helper", "helpers", "common", "misc"];
    let mut breaches = Vec::new();
    for source in rust_files(&["src", "tests", "fuzz"]) {
        let parts = source.path.split(['/', '.']);
        for drawer in parts.filter(|part| DRAWERS.contains(part)) {
            breaches.push(source.at(1, format!("`{drawer}` does not say what belongs there")));
        }
        let names: Vec<String> = DRAWERS.iter().map(|name| format!("mod {name}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        breaches.extend(banned([source], &names));
    }
    refuse(breaches, "a module's name says what belongs there");
}

#[test]
fn nothing_names_the_machine_or_the_tools_that_made_it() {
    // In pieces, so that this file does not name them itself.
    let paths = [concat!("/wo", "rk/"), concat!("/ro", "ot/")];
    let tools = [
        concat!("anth", "ropic"),
        concat!("chat", "gpt"),
        concat!("clau", "de"),
        concat!("code", "x"),
        concat!("copi", "lot"),
        concat!("open", "ai"),
    ];
    let mut breaches = Vec::new();
    for source in files().into_iter().map(read) {
        for (number, line) in (1..).zip(source.text.lines()) {
            let lower = line.to_lowercase();
            let named = tools.iter().filter(|tool| mentions(&lower, tool).next().is_some());
            for name in named.chain(paths.iter().filter(|path| line.contains(**path))) {
                breaches.push(source.at(number, format!("names `{name}`")));
            }
        }
    }
    refuse(breaches, "nothing names the machine or the tools that it was made with");
}

#[test]
fn every_relative_link_leads_somewhere() {
    let mut breaches = Vec::new();
    for document in documents() {
        for (number, target) in links(&document.text) {
            let path = target.split('#').next().unwrap_or_default();
            let folder = root().join(&document.path);
            let folder = folder.parent().expect("a document in a folder");
            if !path.is_empty() && !path.contains(':') && !folder.join(path).exists() {
                breaches.push(document.at(number, format!("`{target}` leads nowhere")));
            }
        }
    }
    refuse(breaches, "every relative link of the documents leads to a file");
}

/// The targets of inline links and of link definitions outside code blocks, with their lines.
fn links(markdown: &str) -> Vec<(usize, &str)> {
    let mut in_code = false;
    let mut found = Vec::new();
    for (number, line) in (1..).zip(markdown.lines()) {
        in_code ^= line.trim_start().starts_with("```");
        if in_code {
            continue;
        }
        let inline = line.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
        found.extend(inline.map(|target| (number, target)));
        let definition = line.strip_prefix('[').and_then(|rest| rest.split_once("]: "));
        found.extend(definition.map(|(_, target)| (number, target.trim())));
    }
    found
}

#[test]
fn links_are_found() {
    let markdown = "[a](b.md) and [c](d/e.md#f \"g\")\n```\n[h](i)\n```\n[j]: k.md\n";
    assert_eq!(links(markdown), [(1, "b.md"), (1, "d/e.md#f"), (5, "k.md")]);
}

#[test]
fn every_command_is_documented() {
    let page = read("docs/commands.md");
    let named = |name: &str| page.text.contains(&format!("`{name}"));
    let silent = COMMANDS.iter().filter(|command| !named(command.name));
    let breaches = silent.map(|command| page.at(1, format!("`{}` is missing", command.name)));
    refuse(breaches.collect(), "docs/commands.md names every command of the table");
}

#[test]
fn every_option_is_documented() {
    let pages: Vec<Source> = documents().filter(|page| page.path.starts_with("docs/")).collect();
    let ends = |rest: &str| !rest.starts_with(|c| is_word(c) || c == '-');
    let mut count = 0;
    let mut breaches = Vec::new();
    for source in rust_files(&["src"]) {
        for (number, option) in long_options(&source.text) {
            count += 1;
            if !pages.iter().any(|page| page.text.split(&option).skip(1).any(ends)) {
                breaches.push(source.at(number, format!("no page of docs names `{option}`")));
            }
        }
    }
    assert!(count > 20, "only {count} options were found");
    refuse(breaches, "the documents name every option that is not hidden");
}

/// The long options of clap's derive that people see, with the lines of their fields.
fn long_options(source: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut attributes = String::new();
    for (number, line) in (1..).zip(source.lines().map(str::trim)) {
        let field = line.trim_start_matches("pub ").split_once(": ").map(|(name, _)| name);
        if line.starts_with("#[arg(") || !attributes.is_empty() && !attributes.ends_with(")]") {
            attributes += line;
        } else if let Some(field) = field.filter(|name| name.chars().all(is_word)) {
            let given =
                attributes.split("long = \"").nth(1).and_then(|rest| rest.split('"').next());
            let by_name = mentions(&attributes, "long").next().map(|_| field.replace('_', "-"));
            let hidden = attributes.contains("hide = true");
            let name = given.map(str::to_owned).or(by_name).filter(|_| !hidden);
            found.extend(name.map(|name| (number, format!("--{name}"))));
            attributes.clear();
        }
    }
    found
}

#[test]
fn options_are_read_from_the_derive() {
    let source = "#[arg(short, long)]\npub max_unacked: u32,\n\
                  /// a: b\n#[arg(\n    long = \"with-fd\",\n)]\nfd: i32,\n\
                  #[arg(last = true)]\nprogram: X,\n#[arg(long, hide = true)]\nsecret: bool,\n";
    assert_eq!(long_options(source), [(2, "--max-unacked".into()), (7, "--with-fd".into())]);
}

#[test]
fn parity_names_every_command() {
    let page = read("docs/parity.md");
    let silent = COMMANDS.iter().filter(|it| !page.text.contains(&format!("`{}`", it.name)));
    let breaches = silent.map(|command| page.at(1, format!("`{}` is missing", command.name)));
    refuse(breaches.collect(), "docs/parity.md names every command");
}

#[test]
fn documents_name_files_that_exist() {
    let known = files();
    let mut breaches = Vec::new();
    for page in documents() {
        for (number, line) in (1..).zip(page.text.lines()) {
            let named = line.split('`').filter(|word| word.ends_with(".rs") && !word.contains(' '));
            let lost = named.filter(|name| !known.iter().any(|path| ends_with_path(path, name)));
            breaches.extend(lost.map(|name| page.at(number, format!("there is no {name}"))));
        }
    }
    refuse(breaches, "the documents name files that exist, by the end of their paths");
}

/// Whether a path is another one, or leads to it from some folder.
fn ends_with_path(path: &str, name: &str) -> bool {
    path.strip_suffix(name).is_some_and(|folder| folder.is_empty() || folder.ends_with('/'))
}

/// README.md and every page of docs.
fn documents() -> impl Iterator<Item = Source> {
    let is_document =
        |path: &String| path == "README.md" || path.starts_with("docs/") && path.ends_with(".md");
    let found: Vec<String> = files().into_iter().filter(is_document).collect();
    assert!(found.iter().any(|path| path == "README.md"), "there is no README.md");
    found.into_iter().map(read)
}

/// Every use of a word that must not be used.
fn banned(sources: impl IntoIterator<Item = Source>, words: &[&str]) -> Vec<String> {
    let mut breaches = Vec::new();
    for source in sources {
        for (number, line) in source.code_lines() {
            let used = words.iter().filter(|word| mentions(line, word).next().is_some());
            breaches.extend(used.map(|word| source.at(number, format!("`{word}`"))));
        }
    }
    breaches
}

/// Where a text names something that begins, and if it ends in a word ends, at a word's boundary.
fn mentions<'t>(text: &'t str, name: &str) -> impl Iterator<Item = usize> + 't {
    let ends_in_word = name.ends_with(is_word);
    let length = name.len();
    let found: Vec<usize> = text.match_indices(name).map(|(at, _)| at).collect();
    found.into_iter().filter(move |at| {
        let inside = text[..*at].ends_with(is_word)
            || ends_in_word && text[at + length..].starts_with(is_word);
        !inside
    })
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

fn refuse(breaches: Vec<String>, rule: &str) {
    assert!(breaches.is_empty(), "{rule}:\n{}", breaches.join("\n"));
}
