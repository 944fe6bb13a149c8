//! Ruby, where a test needs it: as a reader of YAML, and as the master that a Ruby Einhorn is.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::support::releases::place;
use crate::support::rig::Rig;

/// What a Ruby expression says of a document, which is `d` there, loaded as the original loads it.
pub(crate) fn evaluate(rig: &Rig, document: &str, expression: &str) -> String {
    let script = format!(
        "d = YAML.safe_load(STDIN.read, permitted_classes: [Set, Symbol, Time], aliases: true); \
         print((begin; {expression}; end))"
    );
    let mut command = rig.command("ruby");
    command.args(["-Eutf-8", "-ryaml", "-rset", "-rjson", "-e", &script]).env("LANG", "C.UTF-8");
    let mut ruby = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    ruby.stdin.take().unwrap().write_all(document.as_bytes()).unwrap();
    let output = ruby.wait_with_output().unwrap();
    assert!(output.status.success(), "{expression}\n{document}");
    String::from_utf8(output.stdout).unwrap()
}

/// Puts a master in place under a name that does what a Ruby Einhorn's does: `standin.rb`.
pub(crate) fn place_standin(rig: &Rig, name: &str) -> PathBuf {
    let source = rig.path(&format!("{name}.source"));
    fs::write(&source, include_str!("standin.rb")).unwrap();
    let placed = place(rig, Path::new(&source), name);
    fs::remove_file(source).unwrap();
    placed
}
