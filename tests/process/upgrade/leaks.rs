//! Any number of re-execs leaves master and workers as they were.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Instant;

use nix::sys::signal::Signal;

use crate::support::before_and_after::{Given, Snapshot};
use crate::support::proc;
use crate::support::releases::{THIS, place, reexec_count, script, start_wrapped};
use crate::support::rig::{Master, Rig, send};

crate::tests![
    nothing_grows_over_many_upgrades,
    workers_get_the_same_after_fifty_upgrades,
    the_own_path_is_looked_up_anew,
    a_deleted_release_or_directory_is_no_obstacle,
];

/// How many upgrades; with `EINHORN_TEST_LONG=1` as many as the plan asks for.
const UPGRADES: u32 = 200;
const UPGRADES_LONG: u32 = 1000;

/// How much more memory a master may hold at the end: the allocator's whims.
const MORE_KB_MAX: u64 = 1024;

fn resident_kb(pid: i32) -> u64 {
    proc::status(pid, "VmRSS").trim_end_matches(" kB").parse().unwrap()
}

fn nothing_grows_over_many_upgrades() {
    let rig = Rig::new();
    let good = "#!/bin/sh\nexec EINHORN \"$@\"\n";
    // Fails after its check, one time in ten.
    let bad = "#!/bin/sh\nrm \"$0\"\nexec EINHORN \"$@\"\n";
    script(&rig, "wrapper", good);
    let options = ["-n", "4", "-b", "127.0.0.1:0", "--drop-env-var", "DROPPED"];
    let mut master = start_wrapped(&rig, "wrapper", &options);
    let workers = master.settled(4);
    for _ in 0..5 {
        assert!(master.say("reload", &[]).starts_with("Reload done"));
    }
    let before = Snapshot::of(&master);
    let resident = resident_kb(master.pid());
    let environment = proc::environment(master.pid());
    let arguments = fs::read(format!("/proc/{}/cmdline", master.pid())).unwrap().len();
    let is_long = std::env::var_os("EINHORN_TEST_LONG").is_some();
    let count = if is_long { UPGRADES_LONG } else { UPGRADES };
    let begun = Instant::now();
    for round in 1..=count {
        let fails = round % 10 == 0;
        script_if(&rig, fails, bad);
        let answer = master.say("reload", &[]);
        assert_eq!(answer.starts_with("Could not upgrade"), fails, "{answer}");
        assert_eq!(answer.starts_with("Reload done"), !fails, "{answer}");
        script_if(&rig, fails, good);
    }
    println!("{count} upgrades in {:?}", begun.elapsed());
    assert_eq!(master.settled(4), workers);
    before.assert_kept(&master);
    assert_eq!(proc::environment(master.pid()), environment);
    let now = fs::read(format!("/proc/{}/cmdline", master.pid())).unwrap().len();
    // The number of the state may have a digit more.
    assert!(now <= arguments + 1, "{now} {arguments}");
    let grown = resident_kb(master.pid()).saturating_sub(resident);
    assert!(grown <= MORE_KB_MAX, "{grown} kB more than {resident}");
    assert_eq!(reexec_count(&rig), usize::try_from(5 + count - count / 10).unwrap());
    master.signal(Signal::SIGTERM);
    assert!(master.ended().success());
}

fn script_if(rig: &Rig, is_wanted: bool, text: &str) {
    if is_wanted {
        script(rig, "wrapper", text);
    }
}

/// The workers after the one with this pid was replaced.
fn replaced(master: &Master<'_>, count: usize, worker: i32) -> Vec<i32> {
    send(worker, Signal::SIGKILL);
    master.until_logged(&format!("Exited worker {worker} "));
    master.settled(count).into_iter().filter(|pid| *pid != worker).collect()
}

fn workers_get_the_same_after_fifty_upgrades() {
    for own_path in [true, false] {
        let rig = Rig::new();
        script(&rig, "wrapper", "#!/bin/sh\ntrue\nexec EINHORN \"$@\"\n");
        let wrapper = rig.path("wrapper").display().to_string();
        let own = proc::stat(std::process::id().cast_signed()).unwrap().nice;
        let nice = (own.max(0) + 5).min(19).to_string();
        let mut options = vec!["-n", "2", "-m", "0", "--nice", &nice, "-b", "127.0.0.1:0"];
        if !own_path {
            options.extend(["--reexec-as", &wrapper]);
        }
        options.extend(["sleep", "1000"]);
        let script = "umask 027; ulimit -S -n 300; ulimit -H -n 400; ulimit -c 0; exec \"$@\"";
        let mut command = rig.shell(script, &options);
        // Set before, so that the wrapper's shell adds nothing of its own.
        command.env("LISTEN_FDS", "1").env("LISTEN_PID", "1").env("NOT_A_LINE", "a\nb=c");
        let master = rig.launch(command);
        // What a shell exports of itself it exports the first time it runs.
        if !own_path {
            assert!(master.say("reload", &[]).starts_with("Reload done"));
        }
        let first = replaced(&master, 2, master.settled(2)[0]);
        let given: Vec<Given> = first.iter().map(|pid| Given::to(*pid)).collect();
        let kept = Snapshot::of(&master);
        for _ in 0..50 {
            let answer = master.say("reload", &[]);
            assert!(answer.starts_with("Reload done"), "{answer}");
        }
        kept.assert_kept(&master);
        for pid in first {
            let now = replaced(&master, 2, pid);
            assert!(now.iter().all(|pid| given.contains(&Given::to(*pid))), "{given:#?}");
        }
    }
}

fn the_own_path_is_looked_up_anew() {
    let executable = |pid: i32| fs::read_link(format!("/proc/{pid}/exe")).unwrap();
    // Typed as a name of PATH, a relative path, and through a link.
    for typed in ["m", "./m", "current/m", "bin/../m"] {
        let rig = Rig::new();
        for folder in ["bin", "one", "two"] {
            rig.subfolder(folder);
        }
        let stored: &[&str] = if typed == "current/m" { &["one/m", "two/m"] } else { &["m"] };
        for path in stored {
            place(&rig, Path::new(THIS), path);
        }
        std::os::unix::fs::symlink("one", rig.path("current")).unwrap();
        let path = std::env::var_os("PATH").unwrap();
        let mut folders = vec![rig.path("")];
        folders.extend(std::env::split_paths(&path));
        let search = std::env::join_paths(folders).unwrap();
        let mut command = rig.command("sh");
        command.args(["-c", "exec \"$@\"", "sh", typed, "-m", "0", "/bin/sleep", "1000"]);
        command.env("PATH", search);
        let master = rig.launch(command);
        master.settled(1);
        let was = fs::metadata(format!("/proc/{}/exe", master.pid())).unwrap();
        if typed == "current/m" {
            std::os::unix::fs::symlink("two", rig.path("new")).unwrap();
            fs::rename(rig.path("new"), rig.path("current")).unwrap();
            fs::remove_dir_all(rig.path("one")).unwrap();
        } else {
            place(&rig, Path::new(THIS), "m");
        }
        for _ in 0..2 {
            let answer = master.say("reload", &[]);
            assert!(answer.starts_with("Reload done"), "{typed}: {answer}");
        }
        let now = fs::metadata(format!("/proc/{}/exe", master.pid())).unwrap();
        assert_ne!(now.ino(), was.ino(), "{typed}");
        assert!(!executable(master.pid()).to_string_lossy().contains("deleted"), "{typed}");
    }
}

fn a_deleted_release_or_directory_is_no_obstacle() {
    let rig = Rig::new();
    let folder = rig.subfolder("release");
    let mut command = rig.einhorn(&["-n", "2", "-m", "0", "sleep", "1000"]);
    command.current_dir(&folder);
    let master = rig.launch(command);
    let workers = master.settled(2);
    fs::remove_dir(&folder).unwrap();
    for _ in 0..2 {
        let answer = master.say("reload", &[]);
        assert!(answer.starts_with("Reload done"), "{answer}");
    }
    replaced(&master, 2, workers[0]);
}
