//! From a Ruby master to one of ours and back (docs/migrating.md), with a stand-in that does what
//! the original's master does.

use std::fs::File;
use std::path::Path;

use nix::sys::signal::Signal;

use crate::support::last_line::is_done;
use crate::support::load::{port, under_load};
use crate::support::releases::{THIS, place, script};
use crate::support::rig::{Master, Rig, has, names};
use crate::support::ruby::place_standin;
use crate::support::{proc, worker};

crate::tests![
    there_and_back_and_no_connection_is_lost,
    a_hangup_is_enough,
    a_command_that_runs_us_as_its_child_is_refused,
    a_worker_that_dies_in_between_is_replaced,
    the_default_files_are_where_the_original_has_them,
    without_workers_a_child_is_known_as_well,
];

/// The name of the program that is replaced.
const NAME: &str = "einhorn";

/// A Ruby master, by its own path or through a wrapper.
fn start<'a>(rig: &'a Rig, options: &[&str], steps: &[&str]) -> Master<'a> {
    let mut command = rig.command(place_standin(rig, NAME));
    let path = |name: &str| rig.path(name).display().to_string();
    command.args(["-d", &path("einhorn.sock"), "-e", &path("pid"), "-f", &path("lock")]);
    command.args(options).arg("--").arg(std::env::current_exe().unwrap());
    command.arg(worker::FLAG).args(steps);
    // What a check says on its standard output.
    let log = File::options().create(true).append(true).open(rig.path("log"));
    command.stdout(log.unwrap());
    rig.launch(command)
}

fn is_ours(master: &Master<'_>) -> bool {
    master.say("ehlo", &[]).contains(&format!("einhorn {}", env!("CARGO_PKG_VERSION")))
}

/// Ends a master, which removes its files.
fn stop(rig: &Rig, mut master: Master<'_>) {
    master.signal(Signal::SIGTERM);
    assert!(master.ended().success(), "{}", rig.log());
    let left = names(&rig.path(""));
    assert!(!left.iter().any(|name| name == "einhorn.sock" || name == "pid"), "{left:?}");
}

fn there_and_back_and_no_connection_is_lost() {
    if !has("ruby") {
        return;
    }
    let rig = Rig::new();
    let options = ["-n", "3", "-m", "manual", "-s", "0.1", "-b", "127.0.0.1:0,r,n"];
    let master = start(&rig, &options, &["hold-usr2", "ack", "drain=v1"]);
    master.settled(3);
    let (port, pid) = (port(&master), master.pid());
    let answered = under_load(port, 3, |load| {
        for round in 0..3 {
            let there = if round == 1 { "upgrade_fleet" } else { "upgrade" };
            place(&rig, Path::new(THIS), NAME);
            assert!(is_done(&master.say(there, &[])), "{}", rig.log());
            assert!(is_ours(&master));
            // Once more, now that it is one of ours.
            assert!(is_done(&master.say("upgrade", &[])), "{}", rig.log());
            place_standin(&rig, NAME);
            assert_eq!(master.say("upgrade", &["--to-ruby"]), "Upgrade done", "{}", rig.log());
            assert!(!is_ours(&master));
            let before = load.answered();
            master.until("the clients go on", || (load.answered() > before).then_some(()));
        }
    });
    assert!(answered > 100, "{answered} answers are no load");
    master.settled(3);
    assert_eq!(master.state()[":version"].as_u64(), Some(9));
    assert_eq!(master.state()[":generation"].as_u64(), Some(9));
    assert_eq!(std::fs::read_to_string(rig.path("pid")).unwrap().trim(), pid.to_string());
    assert!(!rig.log().contains("ERROR"), "{}", rig.log());
    stop(&rig, master);
}

fn a_hangup_is_enough() {
    if !has("ruby") {
        return;
    }
    let rig = Rig::new();
    let master = start(&rig, &["-n", "2", "-m", "0.2", "-s", "0.1"], &["wait"]);
    let before = master.settled(2);
    place(&rig, Path::new(THIS), NAME);
    master.signal(Signal::SIGHUP);
    master.until_logged("Upgraded successfully to generation 1");
    let after = master.settled(2);
    assert!(is_ours(&master) && after.iter().all(|pid| !before.contains(pid)));
    // It was looked at before, and what is looked at is what is handed over.
    assert!(rig.log().contains("state: of a Ruby Einhorn, 2 workers"), "{}", rig.log());
    stop(&rig, master);
}

fn a_command_that_runs_us_as_its_child_is_refused() {
    if !has("ruby") {
        return;
    }
    let rig = Rig::new();
    let wrapper = script(&rig, "wrapper", "#!/bin/sh\nEINHORN \"$@\"\nexit $?\n");
    let wrapper = wrapper.display().to_string();
    let options = ["-n", "2", "-m", "0.2", "--reexec-as", &wrapper];
    let master = start(&rig, &options, &["wait"]);
    let before = master.settled(2);
    master.signal(Signal::SIGHUP);
    master.until_logged("starts einhorn as a child");
    assert_eq!(master.settled(2), before);
    assert!(!is_ours(&master));
    stop(&rig, master);
}

fn a_worker_that_dies_in_between_is_replaced() {
    if !has("ruby") {
        return;
    }
    let rig = Rig::new();
    // Dash reaps children that are not its own when it runs a command.
    let text = "#!/bin/sh\nif [ \"$1\" = --with-state-fd ]; then\n\
                kill -9 $(cat victim); /bin/true; /bin/true; fi\nexec EINHORN \"$@\"\n";
    let wrapper = script(&rig, "wrapper", text).display().to_string();
    let options = ["-n", "3", "-m", "0.2", "-s", "0.1", "--reexec-as", &wrapper];
    let master = start(&rig, &options, &["wait"]);
    let before = master.settled(3);
    std::fs::write(rig.path("victim"), before[0].to_string()).unwrap();
    master.say("reload", &[]);
    master.until("it is ours", || is_ours(&master).then_some(()));
    let after = master.settled(3);
    assert!(after.contains(&before[1]) && after.contains(&before[2]), "{before:?} {after:?}");
    assert!(proc::has_ended(before[0]));
    stop(&rig, master);
}

fn the_default_files_are_where_the_original_has_them() {
    if !has("ruby") {
        return;
    }
    let rig = Rig::new();
    let socket = rig.subfolder("sockets").join("web.sock");
    let mut command = rig.command(place_standin(&rig, NAME));
    command.arg("-d").arg(&socket).args(["-m", "0", "--", "/bin/sleep", "1000"]);
    command.stdout(File::create(rig.path("said")).unwrap());
    let mut master = rig.launch_at(command, socket.clone());
    master.settled(1);
    let pidfile = rig.path("einhorn.pid");
    assert!(pidfile.exists(), "{:?}", names(&rig.path("")));
    place(&rig, Path::new(THIS), NAME);
    master.say("upgrade", &[]);
    master.until("it is ours", || is_ours(&master).then_some(()));
    // What nobody has named keeps no second master away, and is left to the first.
    let command = rig.einhorn(&["-d", "other", "sleep", "1000"]);
    let mut second = rig.launch_at(command, rig.path("other"));
    second.signal(Signal::SIGTERM);
    assert!(second.ended().success(), "{}", rig.log());
    assert!(rig.log().contains("Running without the default pid file"), "{}", rig.log());
    master.signal(Signal::SIGTERM);
    assert!(master.ended().success(), "{}", rig.log());
    assert!(!pidfile.exists() && !socket.exists(), "its files are removed");
    // `sleep` cannot drain.
    let log = rig.log();
    let mut errors = log.lines().filter(|line| line.contains("ERROR"));
    assert!(errors.all(|line| line.contains("killed instead of draining")), "{log}");
}

fn without_workers_a_child_is_known_as_well() {
    if !has("ruby") {
        return;
    }
    let rig = Rig::new();
    let wrapper = script(&rig, "wrapper", "#!/bin/sh\nEINHORN \"$@\"\nexit $?\n");
    let wrapper = wrapper.display().to_string();
    let options = ["-n", "1", "-m", "manual", "-s", "1000", "--reexec-as", &wrapper];
    let master = start(&rig, &options, &[]);
    let state = || master.state()[":children"].as_mapping().unwrap().is_empty().then_some(());
    master.until("it has no worker", state);
    master.signal(Signal::SIGHUP);
    master.until_logged("starts einhorn as a child");
    assert!(!is_ours(&master));
    stop(&rig, master);
}
