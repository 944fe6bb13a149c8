//! What einhorn answers by hand, about command lines, states and itself, without doing anything.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::other_release::install;
use crate::support::releases::{THIS, next, script};
use crate::support::rig::{Rig, names};

crate::tests![
    a_good_command_line_is_checked_and_nothing_is_touched,
    a_bad_command_line_is_refused_by_what_is_wrong,
    a_check_beside_a_running_master_harms_nothing,
    every_golden_state_is_checked_and_described,
    states_of_the_next_release_are_checked,
    every_refused_state_is_refused_with_its_reason,
    a_state_that_cannot_be_read_is_said_so,
    release_and_state_format_are_told,
    the_recipe_for_ci_runs_as_it_stands_in_the_documents,
];

/// The exit status, standard output and standard error.
fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

fn good(command: &mut Command) -> String {
    let (status, out, errors) = run(command);
    assert_eq!((status, errors.as_str()), (Some(0), ""), "{command:?}");
    out
}

/// One line on standard error that says this, and nothing else.
fn bad(command: &mut Command, status: i32, says: &str) {
    let (code, out, errors) = run(command);
    assert_eq!((code, out.as_str()), (Some(status), ""), "{command:?}: {errors}");
    assert!(errors.starts_with("einhorn: ") && errors.contains(says), "{errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
}

fn schema(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("state-schema").join(folder)
}

/// The states of a folder, each with its readable twin.
fn states(folder: &str) -> Vec<(PathBuf, String)> {
    let names = names(&schema(folder));
    let states = names.iter().filter(|name| name.ends_with(".bin"));
    let paths = states.map(|name| schema(folder).join(name));
    paths
        .map(|path| {
            let twin = fs::read_to_string(path.with_extension("txt")).unwrap();
            (path, twin)
        })
        .collect()
}

/// A check with a state as descriptor 3, as a shell would give it.
fn check_state(rig: &Rig, state: &Path) -> Command {
    let mut command = rig.shell("exec \"$@\" 3<\"$STATE\"", &["--upgrade-check"]);
    command.args(["--with-state-fd", "3"]).env("STATE", state);
    command
}

fn a_good_command_line_is_checked_and_nothing_is_touched() {
    let rig = Rig::new();
    let program = script(&rig, "program", "#!/bin/sh\n").display().to_string();
    let wrapper = script(&rig, "wrapper", "#!/bin/sh\ntouch it-ran\n").display().to_string();
    // A port that is taken is no obstacle: nothing is bound.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let word = format!("srv:{address}");
    let reexec = format!("{wrapper} --deep");
    let options = ["--upgrade-check", "-n", "4", "-b", &address, "-b", "unix:./socket"];
    let rest = ["-c", "web", "--reexec-as", &reexec, &program, &word];
    let before = names(&rig.path(""));
    let said = good(&mut rig.einhorn(&[&options[..], &rest].concat()));
    let expected =
        format!("einhorn 0.1.0\nstate format: 1\nprogram: {program}\nre-exec command: {wrapper}\n");
    assert_eq!(said, expected);
    assert_eq!(names(&rig.path("")), before);
    let said = good(&mut rig.einhorn(&["--upgrade-check", "--", "sh", "-c", "touch it-ran"]));
    assert!(said.lines().any(|line| line.starts_with("program: /")), "{said}");
    assert_eq!(names(&rig.path("")), before);
    assert!(rig.processes().is_empty());
}

fn a_bad_command_line_is_refused_by_what_is_wrong() {
    let rig = Rig::new();
    fs::write(rig.path("plain"), "").unwrap();
    for (words, status, says) in [
        ("-n 0 sh", 2, "--number"),
        ("--no-such sh", 2, "--no-such"),
        ("-b 127.0.0.1:99999 sh", 2, "\"99999\" is not a port"),
        ("sh srv:127.0.0.1:80,bogus", 2, "bogus"),
        ("-m soon sh", 2, "--ack-mode"),
        ("./missing", 1, "program: cannot execute ./missing: No such file"),
        ("missing-program", 1, "program: there is no program \"missing-program\" in PATH"),
        (
            "./plain",
            1,
            "program: cannot execute ./plain: permission denied: it is not executable (chmod +x)",
        ),
        ("./", 1, "program: cannot execute ./: permission denied: it is a directory"),
        ("--reexec-as ./missing sh", 1, "--reexec-as: cannot execute ./missing"),
        (
            "--reexec-as ./plain sh",
            1,
            "--reexec-as: cannot execute ./plain: permission denied: it is not executable",
        ),
    ] {
        let words: Vec<&str> = ["--upgrade-check"].into_iter().chain(words.split(' ')).collect();
        bad(&mut rig.einhorn(&words), status, says);
    }
    assert_eq!(names(&rig.path("")), ["plain"]);
}

fn a_check_beside_a_running_master_harms_nothing() {
    let rig = Rig::new();
    let master = rig.start(&["-m", "manual", "-b", "127.0.0.1:0"], &["ack", "wait"]);
    let workers = master.settled(1);
    let before = names(&rig.path(""));
    good(&mut rig.einhorn(&["--upgrade-check", "-b", "127.0.0.1:0", "sh"]));
    assert_eq!(names(&rig.path("")), before);
    assert_eq!(master.settled(1), workers);
    let pid = fs::read_to_string(rig.path("einhorn.pid")).unwrap();
    assert_eq!(pid, format!("{}\n", master.pid()));
}

fn every_golden_state_is_checked_and_described() {
    let rig = Rig::new();
    let golden = states("golden");
    assert!(golden.len() >= 20);
    let is_told = "\nstate: format 1, ";
    for (state, twin) in &golden {
        let said = good(&mut check_state(&rig, state));
        assert!(said.contains(is_told), "{said}");
        let path = state.to_str().unwrap();
        assert_eq!(good(&mut rig.einhorn(&["--describe-state", path])), *twin);
        // The release after this one reads it as well.
        assert!(good(&mut check_with_next(&rig, state)).contains(is_told));
    }
}

/// The same by the release after this one.
fn check_with_next(rig: &Rig, state: &Path) -> Command {
    let mut newer = rig.shell("exec \"$NEXT\" --upgrade-check --with-state-fd 3 3<\"$STATE\"", &[]);
    newer.env("NEXT", next()).env("STATE", state);
    newer
}

fn states_of_the_next_release_are_checked() {
    let rig = Rig::new();
    let path = |name: &str| schema(&format!("next/{name}.bin"));
    for name in ["note", "hint"] {
        assert!(good(&mut check_with_next(&rig, &path(name))).ends_with(" 0 workers\n"));
    }
    let said = good(&mut check_state(&rig, &path("hint")));
    let skipped = "The state has \"hint\", which einhorn 0.1.0 does not know: it is left out\n";
    assert!(said.ends_with(skipped), "{said}");
    let refused = "the state has \"note\" in use, which this release does not know";
    bad(&mut check_state(&rig, &path("note")), 1, refused);
    // It is shown all the same.
    let shown = path("note").display().to_string();
    let shown = good(&mut rig.einhorn(&["--describe-state", &shown]));
    assert!(shown.contains("note: 17 bytes, unknown\n"), "{shown}");
}

fn every_refused_state_is_refused_with_its_reason() {
    let rig = Rig::new();
    let refused = states("refused");
    assert!(refused.len() >= 100);
    for (state, twin) in &refused {
        let reason = twin.lines().find_map(|line| line.strip_prefix("says: ")).unwrap();
        bad(&mut check_state(&rig, state), 1, reason);
    }
}

fn a_state_that_cannot_be_read_is_said_so() {
    let rig = Rig::new();
    let nothing = "cannot read the state under 9: Bad file descriptor";
    bad(&mut rig.einhorn(&["--upgrade-check", "--with-state-fd", "9"]), 1, nothing);
    // It is endless, and refused as soon as more was read than a state can have.
    bad(&mut rig.einhorn(&["--describe-state", "/dev/zero"]), 1, "/dev/zero: ");
    bad(&mut rig.einhorn(&["--describe-state", "missing"]), 1, "missing: No such file");
    fs::write(rig.path("text"), "no state at all, and yet long enough to be one\n").unwrap();
    bad(&mut rig.einhorn(&["--describe-state", "text"]), 1, "text: ");
}

fn release_and_state_format_are_told() {
    let rig = Rig::new();
    let said = good(&mut rig.einhorn(&["--version"]));
    assert_eq!(said, "einhorn 0.1.0\nstate format: 1\n");
    let said = good(rig.command(next()).arg("--version"));
    assert_eq!(said, "einhorn 0.1.0-next\nstate format: 1\n");
}

fn the_recipe_for_ci_runs_as_it_stands_in_the_documents() {
    let rig = Rig::new();
    rig.subfolder("bin");
    install(&rig, Path::new(THIS), "bin/einhorn");
    install(&rig, &schema(""), "state-schema");
    fs::create_dir_all(rig.path("build/release/bin")).unwrap();
    script(&rig, "build/release/bin/server", "#!/bin/sh\n");
    fs::write(rig.path("build/env"), "A=1\n").unwrap();
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operating.md");
    let page = fs::read_to_string(page).unwrap();
    let (_, chapter) = page.split_once("### In a pipeline\n").unwrap();
    let (_, recipe) = chapter.split_once("```sh\n").unwrap();
    let (recipe, _) = recipe.split_once("```").unwrap();
    let path = format!("{}:{}", rig.path("bin").display(), std::env::var("PATH").unwrap());
    let said = good(rig.command("sh").args(["-ec", recipe]).env("PATH", path));
    assert_eq!(said.matches("einhorn 0.1.0\n").count(), 2, "{said}");
    assert!(said.contains("bin/server\n") && said.contains("state: format 1, 4 workers"), "{said}");
}
