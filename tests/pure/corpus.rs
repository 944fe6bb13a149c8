//! Replays `fuzz/corpus` through the bodies that the fuzzers run.

use std::fs;
use std::path::PathBuf;

#[path = "../../fuzz/targets/candidate_report.rs"]
mod candidate_report;
#[path = "../../fuzz/targets/decide_step.rs"]
mod decide_step;
#[path = "../../fuzz/targets/request_line.rs"]
mod request_line;
#[path = "../../fuzz/targets/ruby_state.rs"]
pub(crate) mod ruby_state;
#[path = "../../fuzz/targets/state_decode.rs"]
mod state_decode;

#[test]
fn state_decode() {
    replay("state_decode", state_decode::run);
}

#[test]
fn candidate_report() {
    replay("candidate_report", candidate_report::run);
}

#[test]
fn request_line() {
    replay("request_line", request_line::run);
}

#[test]
fn ruby_state() {
    replay("ruby_state", ruby_state::run);
}

#[test]
fn decide_step() {
    replay("decide_step", decide_step::run);
}

#[test]
fn every_target_is_replayed() {
    let mut targets = names("targets");
    targets.iter_mut().for_each(|file| file.truncate(file.len() - ".rs".len()));
    let replayed =
        ["candidate_report", "decide_step", "request_line", "ruby_state", "state_decode"];
    assert_eq!(targets, replayed, "add the new one above");
    assert_eq!(names("corpus"), targets, "every target has a corpus");
}

/// Runs a target on every file of its corpus, in the order of their names.
fn replay(target: &str, run: fn(&[u8])) {
    let folder = format!("corpus/{target}");
    for name in names(&folder) {
        let is_hash = name.len() == 40 && name.chars().all(|c| c.is_ascii_hexdigit());
        assert!(!is_hash, "fuzz/{folder}/{name}: a file of the corpus says in its name what it is");
        // Shown when the target fails.
        println!("fuzz/{folder}/{name}");
        run(&fs::read(fuzz().join(&folder).join(&name)).expect("a file of the corpus"));
    }
}

/// The names in a folder of `fuzz`, sorted; at least one.
fn names(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(fuzz().join(folder)).expect("a folder of fuzz");
    let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
    let mut names: Vec<String> =
        entries.map(|entry| name(entry).into_string().expect("a UTF-8 name")).collect();
    names.sort();
    assert!(!names.is_empty(), "fuzz/{folder} is empty");
    names
}

fn fuzz() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}
