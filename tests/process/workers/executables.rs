//! The program itself: found once, and tried calmly while it cannot be executed.

use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::rig::{Master, Rig, names, send};
use crate::support::{proc, wait};

crate::tests![
    a_bare_name_is_found_in_path_once_for_life,
    a_bare_name_that_is_not_in_path_ends_the_start,
    what_cannot_be_executed_is_told_with_its_path_once_a_try,
    a_program_that_disappears_and_comes_back_runs_again,
    nothing_spins_while_a_program_cannot_be_executed,
];

/// Puts a program in place.
fn executable(rig: &Rig, name: &str, text: &str) {
    let draft = rig.path("draft");
    fs::write(&draft, text).unwrap();
    // Copied by a process of its own: what this one has open for writing, a process that another
    // test forks meanwhile may have open too, and such a file cannot be executed (ETXTBSY).
    let mut install = rig.command("install");
    assert!(install.args(["-m", "755", "draft", name]).status().unwrap().success());
    fs::remove_file(draft).unwrap();
}

/// Waits until a worker has become sleep(1); before, its shell reads the program.
fn until_asleep(master: &Master<'_>, worker: i32, seconds: &str) {
    let command_line = format!("sleep {seconds}");
    master.until("it sleeps", || (proc::command_line(worker) == command_line).then_some(()));
}

fn a_bare_name_is_found_in_path_once_for_life() {
    let rig = Rig::new();
    let (first, _) = (rig.subfolder("first"), rig.subfolder("second"));
    let sleep = "#!/bin/sh\nexec sleep 1000\n";
    executable(&rig, "second/server", sleep);
    // Neither a folder nor a file that is not executable is a program.
    fs::create_dir(first.join("server")).unwrap();
    let mut command = rig.einhorn(&["-m", "0", "server"]);
    let path = std::env::var("PATH").unwrap();
    command.env("PATH", format!("{}:second:{path}", first.display()));
    let master = rig.launch(command);
    let resolved = || master.state()[":cmd"][0].as_str().unwrap().to_owned();
    assert_eq!(resolved(), "second/server");
    let before = master.settled(1);
    until_asleep(&master, before[0], "1000");
    fs::remove_dir(first.join("server")).unwrap();
    executable(&rig, "first/server", "#!/bin/sh\nexec sleep 2000\n");
    send(before[0], Signal::SIGKILL);
    let after = master.until("another worker", || {
        let workers = master.workers();
        workers.first().filter(|worker| worker.pid != before[0]).map(|worker| worker.pid)
    });
    until_asleep(&master, after, "1000");
    assert_eq!(resolved(), "second/server");
}

fn a_bare_name_that_is_not_in_path_ends_the_start() {
    let rig = Rig::new();
    let folder = rig.subfolder("programs");
    fs::write(folder.join("server"), "not executable").unwrap();
    let mut command = rig.einhorn(&["-b", "127.0.0.1:0", "server"]);
    command.env("PATH", "programs:/nowhere");
    let mut master = rig.begin(command);
    let ended = wait::until_some("it leaves", || master.try_wait().unwrap(), || rig.log());
    let told = rig.log();
    assert_eq!(ended.code(), Some(1), "{told}");
    assert!(told.contains("no program \"server\" in PATH (programs:/nowhere)"), "{told}");
    assert_eq!(names(&rig.path("")), ["log", "programs"]);
}

fn what_cannot_be_executed_is_told_with_its_path_once_a_try() {
    let rig = Rig::new();
    executable(&rig, "headless", "echo no line says who reads this\n");
    executable(&rig, "empty", "");
    executable(&rig, "orphan", "#!/nowhere/interpreter\n");
    executable(&rig, "foreign", "\x7fELF\x02\x01\x01 of no machine");
    fs::write(rig.path("plain"), "#!/bin/sh\n").unwrap();
    fs::create_dir(rig.path("folder")).unwrap();
    for (program, errno, hint) in [
        ("./headless", "Exec format error (os error 8)", "nor a script with a #! line"),
        ("./empty", "Exec format error (os error 8)", "nor a script with a #! line"),
        ("./foreign", "Exec format error (os error 8)", "neither a program for this machine"),
        ("./orphan", "No such file or directory (os error 2)", "interpreter that it names"),
        ("./missing", "No such file or directory (os error 2)", ""),
        ("./plain", "Permission denied (os error 13)", "not executable"),
        ("./folder", "Permission denied (os error 13)", "it is a directory"),
        ("./plain/server", "Not a directory (os error 20)", ""),
    ] {
        let mut master = rig.launch(rig.einhorn(&["-n", "3", "-s", "0.05", program]));
        master.until_logged_times(3, "Could not start a worker (slot 0)");
        let told = format!("cannot execute {program}: {errno}");
        for line in rig.log().lines().filter(|line| line.contains("Could not start")) {
            assert!(line.contains(&told) && line.contains(hint), "{line}");
        }
        master.signal(Signal::SIGTERM);
        assert!(master.ended().success());
        fs::remove_file(rig.path("log")).unwrap();
    }
}

fn a_program_that_disappears_and_comes_back_runs_again() {
    let rig = Rig::new();
    let text = "#!/bin/sh\nexec sleep 1000\n";
    let master = rig.launch(rig.einhorn(&["-n", "3", "-m", "0", "-s", "0.1", "./server"]));
    master.until_logged("cannot execute ./server");
    executable(&rig, "server", text);
    let workers = master.settled(3);
    for pid in &workers {
        until_asleep(&master, *pid, "1000");
    }
    fs::remove_file(rig.path("server")).unwrap();
    for pid in workers {
        send(pid, Signal::SIGKILL);
    }
    let failures = || rig.log().matches("cannot execute ./server").count();
    let before = failures();
    master.until("it is missed", || (failures() > before).then_some(()));
    executable(&rig, "server", text);
    master.settled(3);
}

fn nothing_spins_while_a_program_cannot_be_executed() {
    let rig = Rig::new();
    let master = rig.launch(rig.einhorn(&["-n", "1000", "-s", "30", "./missing"]));
    master.until_logged("cannot execute ./missing");
    let used = || proc::stat(master.pid()).unwrap().ticks;
    let before = used();
    wait::throughout(Duration::from_millis(500), || {
        assert_eq!(rig.log().matches("cannot execute").count(), 1);
    });
    // Of the fifty ticks that a loop without end would have used.
    assert!(used() - before < 10, "{} ticks", used() - before);
}
