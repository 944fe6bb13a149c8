//! What the master's own process looks like: its name, and the nice levels of all.

use std::fs;

use nix::sys::signal::Signal;

use crate::support::proc;
use crate::support::rig::{Rig, names, send};

crate::tests![
    the_name_is_shown_in_ps_and_names_the_files,
    nice_levels_are_absolute,
    workers_keep_the_original_level_when_only_the_masters_is_given,
    a_renice_command_gets_level_and_pid_of_each,
    a_renice_command_that_fails_is_logged_and_nothing_else,
];

fn nice(pid: i32) -> i32 {
    proc::stat(pid).unwrap().nice
}

fn own_nice() -> i32 {
    nice(std::process::id().cast_signed())
}

/// A level that everybody may set.
fn above_own(by: i32) -> i32 {
    (own_nice().max(0) + by).min(19)
}

fn the_name_is_shown_in_ps_and_names_the_files() {
    let rig = Rig::new();
    let command = rig.einhorn(&["-c", "web", "-m", "0", "sleep", "1000"]);
    let mut master = rig.launch_at(command, rig.path("einhorn-web.sock"));
    assert_eq!(proc::command_line(master.pid()), "einhorn: web");
    let worker = master.settled(1)[0];
    assert!(proc::command_line(worker).ends_with("sleep 1000"));
    let files =
        ["einhorn-web.lock", "einhorn-web.pid", "einhorn-web.sock", "einhorn-web.sock.lock", "log"];
    assert_eq!(names(&rig.path("")), files);
    let pid = fs::read_to_string(rig.path("einhorn-web.pid")).unwrap();
    assert_eq!(pid, format!("{}\n", master.pid()));
    master.signal(Signal::SIGTERM);
    assert!(master.ended().success());
    assert_eq!(names(&rig.path("")), ["einhorn-web.lock", "einhorn-web.sock.lock", "log"]);
}

fn nice_levels_are_absolute() {
    let rig = Rig::new();
    let (masters, workers) = (above_own(3), above_own(6));
    let levels = format!("{masters}:{workers}");
    let master = rig.launch(rig.einhorn(&["--nice", &levels, "-m", "0", "sleep", "1000"]));
    let worker = master.settled(1)[0];
    assert_eq!((nice(master.pid()), nice(worker)), (masters, workers));
    send(worker, Signal::SIGKILL);
    let next = master.until("another worker", || {
        master.workers().iter().map(|next| next.pid).find(|next| *next != worker)
    });
    assert_eq!(nice(next), workers);
}

fn workers_keep_the_original_level_when_only_the_masters_is_given() {
    let rig = Rig::new();
    let masters = above_own(3);
    let options = ["--nice", &masters.to_string(), "-m", "0", "sleep", "1000"];
    let master = rig.launch(rig.einhorn(&options));
    let worker = master.settled(1)[0];
    assert_eq!(nice(master.pid()), masters);
    // Only who has CAP_SYS_NICE may go back to it.
    if !rig.log().contains(&format!("Cannot set the nice level of worker {worker}")) {
        assert_eq!(nice(worker), own_nice());
    }
}

/// A command, as shell words, that notes its arguments.
fn renice_command(rig: &Rig, ending: &str) -> String {
    fs::write(rig.path("renice.sh"), format!("echo \"$@\" >> reniced\n{ending}\n")).unwrap();
    "sh renice.sh --level".to_owned()
}

fn a_renice_command_gets_level_and_pid_of_each() {
    let rig = Rig::new();
    let levels = format!("3:7:{}", renice_command(&rig, "exit 0"));
    let master = rig.launch(rig.einhorn(&["--nice", &levels, "-m", "0", "sleep", "1000"]));
    let worker = master.settled(1)[0];
    let expected = format!("--level 3 -p {}\n--level 7 -p {worker}\n", master.pid());
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    master.until("both are reniced", || {
        let noted = fs::read_to_string(rig.path("reniced")).ok()?;
        (sorted(&noted) == sorted(&expected)).then_some(())
    });
    // The command decides; here it sets nothing.
    assert_eq!((nice(master.pid()), nice(worker)), (own_nice(), own_nice()));
    master.until("only the worker is left", || {
        let children = proc::children(master.pid());
        (children.len() == 1 && children[0].pid == worker).then_some(())
    });
}

fn a_renice_command_that_fails_is_logged_and_nothing_else() {
    let rig = Rig::new();
    let levels = format!("3:7:{}", renice_command(&rig, "exit 4"));
    let master = rig.launch(rig.einhorn(&["--nice", &levels, "-m", "0", "sleep", "1000"]));
    let worker = master.settled(1)[0];
    for pid in [master.pid(), worker] {
        master.until_logged(&format!("Failed setting the nice level of {pid}: exit status 4"));
    }
    assert_eq!(master.settled(1), [worker]);
}
