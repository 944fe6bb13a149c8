//! A master that was started from a terminal keeps it for itself; without one nothing is different.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use einhorn::client::Client;
use nix::errno::Errno;
use nix::sys::signal::Signal;

use crate::support::last_line::is_upgraded;
use crate::support::ordinary_user::{self, NOBODY};
use crate::support::releases::script;
use crate::support::rig::{Master, Rig, prepare};
use crate::support::signal_notes::Notes;
use crate::support::terminal::{self, Terminal};
use crate::support::{proc, wait, worker};

crate::tests![
    a_worker_has_no_terminal_and_the_next_image_gives_it_none,
    a_worker_that_writes_is_not_stopped,
    standard_input_stays_where_it_is_no_terminal,
    what_is_started_beside_workers_is_not_stopped_either,
    a_candidate_finds_the_terminal_that_it_would_have,
    control_c_reaches_the_master_alone,
    a_master_in_the_background_logs_and_is_not_stopped,
    without_a_controlling_terminal_all_is_as_ever,
    the_session_has_the_nice_level_of_its_worker,
    each_session_gets_its_level_from_an_ordinary_user_too,
    a_level_that_is_refused_is_told_once,
];

/// What a worker finds of a terminal, for [`probe`].
const NONE: &str = "open: ENXIO\nread: 0 bytes\ntype: EPERM\n";

/// Tries everything that a worker could do with a terminal, and notes it in a file that is named
/// after its pid. As an ordinary user: root may type into any terminal.
pub(crate) fn probe(folder: &Path) {
    let told = |outcome: io::Result<String>| match outcome {
        Ok(outcome) => outcome,
        Err(error) => format!("{:?}", Errno::from_raw(error.raw_os_error().unwrap())),
    };
    let opened = File::open("/dev/tty").map(|_| "opened".to_owned());
    let read = io::stdin().read(&mut [0; 64]).map(|count| format!("{count} bytes"));
    if ordinary_user::is_root() {
        nix::unistd::setgid(NOBODY.into()).unwrap();
        nix::unistd::setuid(NOBODY.into()).unwrap();
    }
    let typed = terminal::type_into(io::stdout(), b'x').map(|()| "typed".to_owned());
    let text = format!("open: {}\nread: {}\ntype: {}\n", told(opened), told(read), told(typed));
    // Whole at once: readers wait for the name.
    let pid = std::process::id();
    let unfinished = folder.join(format!(".{pid}"));
    fs::write(&unfinished, text).unwrap();
    fs::rename(unfinished, folder.join(pid.to_string())).unwrap();
}

/// A command with the test program as its worker.
fn as_worker(mut command: Command, steps: &[&str]) -> Command {
    command.arg(std::env::current_exe().unwrap()).arg(worker::FLAG).args(steps);
    command
}

/// A folder that every user may write to.
fn shared(rig: &Rig, name: &str) -> (PathBuf, String) {
    let folder = rig.subfolder(name);
    for folder in [rig.path(""), folder.clone()] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).unwrap();
    }
    let step = format!("probe-terminal={}", folder.display());
    (folder, step)
}

/// Waits for what a worker has found in [`probe`].
fn found(folder: &Path, worker: i32) -> String {
    let note = folder.join(worker.to_string());
    wait::until_some(
        "it has tried everything",
        || fs::read_to_string(&note).ok(),
        || format!("{:?}", proc::stat(worker)),
    )
}

fn a_worker_has_no_terminal_and_the_next_image_gives_it_none() {
    let rig = Rig::new();
    let (folder, step) = shared(&rig, "found");
    let mut command = as_worker(rig.einhorn(&["-m", "0"]), &[&step, "wait"]);
    let terminal = Terminal::attach(&mut command);
    let master = rig.launch(command);
    let first = master.settled(1)[0];
    has_no_terminal(&master, &folder, first, &terminal);
    assert!(is_upgraded(&master.say("upgrade", &[])), "{}", rig.log());
    let next = master.settled(1)[0];
    assert_ne!(first, next);
    has_no_terminal(&master, &folder, next, &terminal);
}

fn has_no_terminal(master: &Master<'_>, folder: &Path, worker: i32, terminal: &Terminal) {
    assert_eq!(found(folder, worker), NONE);
    let stat = proc::stat(worker).unwrap();
    assert_eq!((stat.parent, stat.group, stat.session), (master.pid(), worker, worker));
    let (ours, its) = (proc::descriptors(master.pid()), proc::descriptors(worker));
    assert_eq!(its[&0], Path::new("/dev/null"));
    // What it writes is seen as ever.
    assert_eq!(its[&1], ours[&1]);
    assert_eq!(ours[&0], ours[&1]);
    assert_eq!(terminal.shown(), "");
}

fn a_worker_that_writes_is_not_stopped() {
    let rig = Rig::new();
    let mut command = rig.einhorn(&["-m", "0", "sh", "-c", "echo hello; echo again; sleep 1000"]);
    let terminal = Terminal::attach(&mut command);
    terminal.stop_writers();
    let master = rig.launch(command);
    let worker = master.settled(1)[0];
    terminal.until_shown("hello\r\nagain\r\n");
    assert_ne!(proc::stat(worker).unwrap().state, 'T');
}

fn standard_input_stays_where_it_is_no_terminal() {
    let rig = Rig::new();
    fs::write(rig.path("input"), "").unwrap();
    let mut command = rig.einhorn(&["-m", "0", "sleep", "1000"]);
    let _terminal = Terminal::attach(&mut command);
    command.stdin(File::open(rig.path("input")).unwrap());
    let master = rig.launch(command);
    let worker = master.settled(1)[0];
    assert_eq!(proc::stat(worker).unwrap().session, worker);
    let input = fs::canonicalize(rig.path("input")).unwrap();
    assert_eq!(proc::descriptors(worker)[&0], input);
}

fn what_is_started_beside_workers_is_not_stopped_either() {
    let rig = Rig::new();
    for (name, word) in [("check", "checked"), ("renice", "reniced")] {
        let text = format!("cat && ! (: </dev/tty) && echo {word} >> read");
        fs::write(rig.path(name), text).unwrap();
    }
    let options = ["-m", "0", "--nice", "3:7:sh renice", "--on-canary", "sh check"];
    let mut command = rig.einhorn(&options);
    command.args(["sleep", "1000"]);
    let _terminal = Terminal::attach(&mut command);
    let master = rig.launch(command);
    master.settled(1);
    assert!(is_upgraded(&master.say("upgrade", &[])), "{}", rig.log());
    master.until("all have read", || {
        let read = fs::read_to_string(rig.path("read")).unwrap_or_default();
        (read.contains("checked\n") && read.contains("reniced\n")).then_some(())
    });
}

fn a_candidate_finds_the_terminal_that_it_would_have() {
    let rig = Rig::new();
    let text = "#!/bin/sh\n: </dev/tty || exit 1\nexec EINHORN \"$@\"\n";
    let wrapper = script(&rig, "wrapper", text).display().to_string();
    let mut command = rig.einhorn(&["-m", "0", "--reexec-as", &wrapper, "sleep", "1000"]);
    let _terminal = Terminal::attach(&mut command);
    let master = rig.launch(command);
    master.settled(1);
    let answer = master.say("reload", &[]);
    assert!(answer.starts_with("Reload done"), "{answer}");
}

fn control_c_reaches_the_master_alone() {
    let rig = Rig::new();
    let notes = Notes::new(&rig);
    let note = format!("note={}", rig.path("notes").display());
    let steps = ["hold", "ack", &note, "exit=0"];
    let mut command = as_worker(rig.einhorn(&["-m", "manual"]), &steps);
    let mut terminal = Terminal::attach(&mut command);
    let mut master = rig.launch(command);
    let worker = master.settled(1)[0];
    terminal.type_in("\x03");
    assert!(master.ended().success());
    assert!(rig.log().contains("Received SIGINT"), "{}", rig.log());
    notes.until(worker, &[Signal::SIGUSR2]);
}

fn a_master_in_the_background_logs_and_is_not_stopped() {
    let rig = Rig::new();
    let jobs = "set -m; stty tostop; \"$@\" & wait; wait";
    let mut command = rig.shell(jobs, &["-m", "0", "sleep", "1000"]);
    let terminal = Terminal::attach(&mut command);
    command.stderr(terminal.program());
    let mut shell = command.spawn().unwrap();
    terminal.until_shown("Up to 1 / 1");
    let pid = fs::read_to_string(rig.path("einhorn.pid")).unwrap().trim().parse().unwrap();
    let stat = proc::stat(pid).unwrap();
    assert_ne!(stat.group, stat.session, "it is in the background");
    let mut client = Client::connect(&rig.socket()).unwrap();
    client.request("inc", &[]).unwrap().for_each(|reply| drop(reply.unwrap()));
    terminal.until_shown("Up to 2 / 2");
    assert_ne!(proc::stat(pid).unwrap().state, 'T');
    client.request("die", &["KILL"]).unwrap().for_each(drop);
    terminal.until_shown("Leaving with exit status");
    assert!(terminal.ended(&mut shell).success());
}

/// Whoever runs the tests may sit at a terminal.
fn leave_terminal() -> io::Result<()> {
    nix::unistd::setsid()?;
    Ok(())
}

fn without_a_controlling_terminal_all_is_as_ever() {
    let rig = Rig::new();
    let mut command = rig.einhorn(&["-m", "0", "sleep", "1000"]);
    let (_person, program) = terminal::open();
    // A terminal to read from is not one that stops who reads.
    command.stdin(program);
    prepare(&mut command, leave_terminal);
    let master = rig.launch(command);
    let worker = master.settled(1)[0];
    let stat = proc::stat(worker).unwrap();
    assert_eq!((stat.group, stat.session), (worker, master.pid()));
    assert_eq!(proc::descriptors(worker)[&0], proc::descriptors(master.pid())[&0]);
}

/// The nice level of a process's autogroup; `None` where the kernel has none.
fn autogroup_level(pid: i32) -> Option<i32> {
    let text = fs::read_to_string(format!("/proc/{pid}/autogroup")).ok()?;
    text.trim().rsplit(' ').next()?.parse().ok()
}

/// Whether the kernel has autogroups; says that a test is skipped when it has none.
fn has_autogroups() -> bool {
    let has_some = autogroup_level(std::process::id().cast_signed()).is_some();
    if !has_some {
        println!("skipped: this kernel has no /proc/PID/autogroup");
    }
    has_some
}

fn until_level(master: &Master<'_>, worker: i32, level: i32) {
    let has_level = || (autogroup_level(worker) == Some(level)).then_some(());
    master.until(&format!("the session of {worker} has level {level}"), has_level);
}

fn the_session_has_the_nice_level_of_its_worker() {
    if !has_autogroups() {
        return;
    }
    let has_level = |is_by_option| {
        let rig = Rig::new();
        let mut command = match is_by_option {
            true => rig.einhorn(&["--nice", "0:5"]),
            false => rig.shell("exec nice -n 3 \"$@\"", &[]),
        };
        command.args(["-m", "0", "sleep", "1000"]);
        let _terminal = Terminal::attach(&mut command);
        let master = rig.launch(command);
        let worker = master.settled(1)[0];
        let level = proc::stat(worker).unwrap().nice;
        assert!(if is_by_option { level == 5 } else { level >= 3 }, "{level}");
        until_level(&master, worker, level);
        assert_eq!(autogroup_level(master.pid()), Some(0));
        assert!(is_upgraded(&master.say("upgrade", &[])), "{}", rig.log());
        until_level(&master, master.settled(1)[0], level);
    };
    // Or by the level that the master was started with.
    has_level(true);
    has_level(false);
}

fn each_session_gets_its_level_from_an_ordinary_user_too() {
    if !has_autogroups() {
        return;
    }
    let rig = Rig::new();
    let options = ["-n", "4", "-m", "0", "--nice", "0:5", "sleep", "1000"];
    let mut command = ordinary_user::command(&rig, env!("CARGO_BIN_EXE_einhorn"), &options);
    let _terminal = Terminal::attach(&mut command);
    let master = rig.launch(command);
    let workers = master.settled(4);
    // What one image has not done yet, the next one does.
    let answer = master.say("reload", &[]);
    assert!(answer.starts_with("Reload done"), "{answer}");
    for worker in workers {
        until_level(&master, worker, 5);
    }
    proc::until_idle(master.pid());
    assert!(!rig.log().contains("autogroup"), "{}", rig.log());
}

fn a_level_that_is_refused_is_told_once() {
    if !has_autogroups() {
        return;
    }
    let rig = Rig::new();
    let options = ["-n", "3", "-m", "0", "--nice", "0:-5", "sleep", "1000"];
    let mut command = ordinary_user::command(&rig, env!("CARGO_BIN_EXE_einhorn"), &options);
    let _terminal = Terminal::attach(&mut command);
    let master = rig.launch(command);
    master.settled(3);
    master.until_logged("Cannot set the nice level of the autogroup of ");
    proc::until_idle(master.pid());
    assert_eq!(rig.log().matches("of the autogroup of").count(), 1, "{}", rig.log());
}
