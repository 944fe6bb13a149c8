//! Starts that must fail: what they say, and that nothing is left of them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::rig::Rig;
use crate::support::wait;

/// How a start ended.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Refusal {
    /// Checks that it is one line of einhorn's on standard error, with all of these in it, and the
    /// exit status.
    pub(crate) fn assert_says(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_eq!(self.stdout, "", "{self:?}");
        assert!(self.stderr.starts_with("einhorn: "), "{self:?}");
        assert_eq!(self.stderr.matches('\n').count(), 1, "{self:?}");
        for part in parts {
            assert!(self.stderr.contains(part), "no {part:?} in {self:?}");
        }
    }
}

/// Starts a master that must leave again, and checks that it changed no file of the rig's folder
/// and left no process behind, so that it holds no address either.
pub(crate) fn refused(rig: &Rig, mut command: Command) -> Refusal {
    let before = (files(&rig.path("")), rig.processes());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let shown = || format!("{command:?}");
    wait::until_some("it leaves", || child.try_wait().unwrap(), shown);
    let output = child.wait_with_output().unwrap();
    assert_eq!((files(&rig.path("")), rig.processes()), before, "{command:?}");
    Refusal {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// What tells a file from another: inode, mode, owner, size, time of change.
type Face = (u64, u32, u32, u64, (i64, i64));

/// Every file below a folder but the log, which other masters may write to meanwhile. Folders are
/// there by name only: one in which a file came and went has another time.
fn files(folder: &Path) -> BTreeMap<PathBuf, Option<Face>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let met = fs::symlink_metadata(&path).unwrap();
        if path.ends_with("log") {
            continue;
        }
        if met.is_dir() {
            found.extend(files(&path));
            found.insert(path, None);
        } else {
            let changed = (met.mtime(), met.mtime_nsec());
            let face = (met.ino(), met.mode(), met.uid(), met.size(), changed);
            found.insert(path, Some(face));
        }
    }
    found
}
