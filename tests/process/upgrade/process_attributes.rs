//! What a program finds of the process around it: directory, umask, limits; given by an exec or a
//! start, and as before where that fails.

use std::ffi::CString;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;

use einhorn::sys::exec::{Exec, exec};
use einhorn::sys::limit::{self, Limit};
use einhorn::sys::spawn::Program;

use crate::support::rig::Rig;
use crate::support::worker;

crate::tests![
    an_exec_gives_directory_umask_and_limits,
    an_exec_that_fails_leaves_everything_as_it_was,
];

/// Becomes the program in a folder; comes back where that fails, and says why in a file there.
pub(crate) fn change(folder: &Path, is_beyond: bool, steps: &[String]) {
    let word = |bytes: &[u8]| CString::new(bytes).unwrap();
    let program = word(folder.join("program").as_os_str().as_bytes());
    let mut arguments = vec![word(b"program"), word(worker::FLAG.as_bytes())];
    arguments.extend(steps.iter().map(|step| word(step.as_bytes())));
    let directory = File::open(folder).unwrap();
    let own = limit::open_files().unwrap();
    // No process may have more than fs.nr_open, which is far below.
    let hard = if is_beyond { 1 << 40 } else { own.hard };
    let error = exec(&Exec {
        program: Program::Path(&program),
        arguments: &arguments,
        environment: &[],
        carried: &[],
        directory: Some(directory.as_fd()),
        umask: Some(0o077),
        limits: &[Limit::open_files(own.soft - 1, own.hard), Limit::open_files(50, hard)],
        foreign_image: None,
    });
    fs::write(folder.join("error"), error.to_string()).unwrap();
}

/// What the test program finds before and after it has tried; and where it is then.
fn tries(rig: &Rig, step: &str) -> [String; 2] {
    let (before, after) = (rig.subfolder("before"), rig.subfolder("after"));
    let report = |folder: &Path| format!("report={}", folder.display());
    let mut command = rig.command(std::env::current_exe().unwrap());
    command.args([worker::FLAG, &report(&before), step, &report(&after)]);
    assert!(command.status().unwrap().success());
    [before, after].map(|folder| {
        let entry = fs::read_dir(folder).unwrap().next().unwrap().unwrap();
        let text = fs::read_to_string(entry.path()).unwrap();
        let here = std::env::temp_dir();
        let told = ["Max open files", "Umask:", here.to_str().unwrap()];
        let is_told = |line: &&str| told.iter().any(|start| line.starts_with(start));
        text.lines().filter(is_told).map(|line| format!("{line}\n")).collect()
    })
}

fn an_exec_gives_directory_umask_and_limits() {
    let rig = Rig::new();
    let folder = rig.subfolder("elsewhere");
    symlink(std::env::current_exe().unwrap(), folder.join("program")).unwrap();
    let [before, after] = tries(&rig, &format!("exec={}", folder.display()));
    assert_ne!(before, after);
    assert!(after.contains("elsewhere") && after.contains("0077"), "{after}");
    let limit = after.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(limit.split_whitespace().nth(3), Some("50"), "{limit}");
}

fn an_exec_that_fails_leaves_everything_as_it_was() {
    for (step, error) in [("exec", "No such file"), ("exec-beyond", "cannot set RLIMIT_NOFILE")] {
        let rig = Rig::new();
        let folder = rig.subfolder("elsewhere");
        let [before, after] = tries(&rig, &format!("{step}={}", folder.display()));
        assert_eq!(before, after);
        let told = fs::read_to_string(folder.join("error")).unwrap();
        assert!(told.contains(error), "{told}");
    }
}
