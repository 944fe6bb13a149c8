//! What workers leave running in their process groups.

use std::fs;

use einhorn::status::{Status, WarningKind};
use nix::sys::signal::Signal;

use crate::support::einhornsh::{status, tell};
use crate::support::rig::{Master, Rig, send};
use crate::support::{proc, wait};

crate::tests![
    a_shell_line_without_exec_leaves_nothing_under_a_schedule,
    a_crash_is_followed_by_the_whole_schedule,
    the_steps_of_what_is_left_survive_a_reload,
    the_master_waits_for_what_is_left,
    without_a_schedule_they_are_named_and_left_alone,
    what_has_left_the_group_is_left_alone_and_named,
];

fn started<'a>(rig: &'a Rig, options: &[&str], script: &str) -> Master<'a> {
    let words = [options, &["-m", "0.1", "sh", "-c", script]].concat();
    let mut command = rig.einhorn(&words);
    command.current_dir(rig.path(""));
    rig.launch(command)
}

/// The pids in a file, once there are so many.
fn pids(rig: &Rig, file: &str, count: usize) -> Vec<i32> {
    let read = || fs::read_to_string(rig.path(file)).unwrap_or_default();
    let all = || {
        let lines: Vec<i32> = read().lines().filter_map(|line| line.parse().ok()).collect();
        (lines.len() == count && read().ends_with('\n')).then_some(lines)
    };
    wait::until_some("the pids are noted", all, || rig.log())
}

fn until_gone(rig: &Rig, pid: i32) {
    wait::until_some("it is gone", || proc::has_ended(pid).then_some(()), || rig.log());
}

fn left_over(status: &Status) -> usize {
    status.warnings.iter().filter(|warning| warning.kind == WarningKind::LeftOver).count()
}

/// Until the master knows of what a worker has left.
fn until_left(rig: &Rig) {
    let look = || (left_over(&status(rig).0) == 1).then_some(());
    wait::until_some("it is known as left over", look, || rig.log());
}

/// Notes its child, which takes notice of no TERM, and fails once there is a file `fail`.
const FAILING: &str = "(trap '' TERM; exec sleep 1000) & echo $! >>left; \
                       until [ -e fail ]; do sleep 0.01; done; rm fail; exit 1";

fn a_shell_line_without_exec_leaves_nothing_under_a_schedule() {
    let rig = Rig::new();
    // One in the background, and one that the shell waits for; a double fork, and a plain one.
    let script = "(sleep 1000 & echo $! >>left) & sleep 1000 & echo $! >>left; wait; sleep 1000; :";
    let mut master = started(&rig, &["--stop", "TERM/30/KILL"], script);
    let old = pids(&rig, "left", 2);
    tell(&rig, "upgrade --drained");
    assert!(old.iter().all(|pid| proc::has_ended(*pid)), "{}", rig.log());
    assert_eq!(left_over(&status(&rig).0), 0);
    pids(&rig, "left", 4);
    master.signal(Signal::SIGTERM);
    assert!(master.ended().success(), "{}", rig.log());
    rig.until_empty();
}

fn a_crash_is_followed_by_the_whole_schedule() {
    let rig = Rig::new();
    let _master = started(&rig, &["--stop", "TERM/0.2/INT/0.2/KILL"], FAILING);
    let left = pids(&rig, "left", 1)[0];
    fs::write(rig.path("fail"), "").unwrap();
    until_gone(&rig, left);
    let log = rig.log();
    assert!(log.contains("has left 1 process (sleep) in its process group"), "{log}");
    let is_gone = || rig.log().contains("had left running is gone").then_some(());
    wait::until_some("that is told", is_gone, || rig.log());
}

fn the_steps_of_what_is_left_survive_a_reload() {
    let rig = Rig::new();
    let mut master = started(&rig, &["--stop", "TERM/1000/KILL"], FAILING);
    let left = pids(&rig, "left", 1)[0];
    fs::write(rig.path("fail"), "").unwrap();
    until_left(&rig);
    tell(&rig, "reload");
    assert_eq!(left_over(&status(&rig).0), 1);
    assert!(!proc::has_ended(left));
    // The worker in its place is asked to stop, and leaves another.
    let next = pids(&rig, "left", 2)[1];
    let told = master.say("die", &["--next"]);
    assert!(told.contains("TERM to ") && told.contains("KILL to "), "{told}");
    until_gone(&rig, left);
    assert!(!proc::has_ended(next));
    until_left(&rig);
    assert!(master.say("die", &["--next"]).contains("KILL to "));
    assert!(master.ended().success(), "{}", rig.log());
    rig.until_empty();
}

fn the_master_waits_for_what_is_left() {
    let rig = Rig::new();
    let mut master = started(&rig, &["--stop", "TERM/0.3/KILL"], FAILING);
    let left = pids(&rig, "left", 1)[0];
    master.signal(Signal::SIGTERM);
    assert!(master.ended().success(), "{}", rig.log());
    assert!(proc::has_ended(left), "{}", rig.log());
    rig.until_empty();
}

fn without_a_schedule_they_are_named_and_left_alone() {
    let rig = Rig::new();
    let mut master = started(&rig, &[], "sleep 1000 & echo $! >>left; exec sleep 1000");
    let left = pids(&rig, "left", 1)[0];
    tell(&rig, "upgrade");
    until_left(&rig);
    pids(&rig, "left", 2);
    assert!(master.say("die", &["TERM"]).contains("going down"));
    assert!(master.ended().success(), "{}", rig.log());
    assert!(!proc::has_ended(left));
    let log = rig.log();
    assert!(log.contains(&format!("{left} (sleep)")), "{log}");
    for left in pids(&rig, "left", 2) {
        send(left, Signal::SIGKILL);
        until_gone(&rig, left);
    }
}

fn what_has_left_the_group_is_left_alone_and_named() {
    let rig = Rig::new();
    let script = "setsid sleep 1000 & echo $! >>left; wait; sleep 1000";
    let mut master = started(&rig, &["--stop", "TERM/5/KILL"], script);
    let left = pids(&rig, "left", 1)[0];
    let is_apart = || {
        let stat = proc::stat(left)?;
        (stat.session == left && stat.name == "sleep").then_some(())
    };
    wait::until_some("it has a session of its own", is_apart, || rig.log());
    master.signal(Signal::SIGTERM);
    assert!(master.ended().success(), "{}", rig.log());
    assert!(!proc::has_ended(left));
    let log = rig.log();
    assert!(log.contains(&format!("Processes that run on: 1: {left} (sleep)")), "{log}");
    send(left, Signal::SIGKILL);
    until_gone(&rig, left);
}
