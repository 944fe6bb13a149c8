//! Processes whose parent dies: workers of a killed master, and children of workers.

use std::process::Command;

use nix::sys::signal::Signal;

use crate::support::rig::{Rig, has, prepare, send};
use crate::support::signal_notes::Notes;
use crate::support::{proc, wait};

crate::tests![
    workers_of_a_killed_master_get_usr2_if_asked,
    workers_of_a_killed_master_go_on_unless_asked,
    a_master_killed_while_it_spawns_leaves_no_worker,
    quit_is_followed_by_usr2_if_asked,
    a_master_that_is_a_subreaper_reaps_orphans,
    a_master_that_is_the_first_process_reaps_orphans,
];

fn workers_of_a_killed_master_get_usr2_if_asked() {
    let rig = Rig::new();
    let notes = Notes::new(&rig);
    let mut master = notes.start(&rig, &["-k", "-n", "3"], 1);
    let workers = master.settled(3);
    master.signal(Signal::SIGKILL);
    master.ended();
    for worker in workers {
        notes.until(worker, &[Signal::SIGUSR2]);
    }
    rig.until_empty();
}

fn workers_of_a_killed_master_go_on_unless_asked() {
    let rig = Rig::new();
    let notes = Notes::new(&rig);
    let mut master = notes.start(&rig, &[], 2);
    let worker = master.settled(1)[0];
    master.signal(Signal::SIGKILL);
    master.ended();
    wait::until_some(
        "it has another parent",
        || (proc::stat(worker)?.parent != master.pid()).then_some(()),
        String::new,
    );
    // Had the master's death sent it something, that would stand first.
    send(worker, Signal::SIGTERM);
    notes.until(worker, &[Signal::SIGTERM]);
}

fn a_master_killed_while_it_spawns_leaves_no_worker() {
    for round in 0..20 {
        let rig = Rig::new();
        let options = ["-k", "-n", "400", "-m", "0", "sleep", "1000"];
        let mut master = rig.begin(rig.einhorn(&options));
        let count = || rig.log().matches("Launched").count();
        let look = || (count() >= 10 * round).then_some(());
        wait::until_some("workers are started", look, || rig.log());
        master.kill().unwrap();
        master.wait().unwrap();
        rig.until_empty();
    }
}

fn quit_is_followed_by_usr2_if_asked() {
    let rig = Rig::new();
    let notes = Notes::new(&rig);
    let mut master = notes.start(&rig, &["-k", "-n", "2"], 2);
    let workers = master.settled(2);
    master.signal(Signal::SIGQUIT);
    assert_eq!(master.ended().code(), Some(1));
    for worker in workers {
        // Pending ones are taken by number, and QUIT's is the lower one.
        notes.until(worker, &[Signal::SIGQUIT, Signal::SIGUSR2]);
    }
    rig.until_empty();
}

/// A worker that has started a process and disowned it.
const DISOWNING: [&str; 7] =
    ["-v", "-m", "0", "sh", "-c", "sleep 1000 & exec sh -c 'sleep 2000 & wait'", "worker"];

/// Kills the worker of a master that runs [`DISOWNING`] and then its orphans: none may be left
/// behind, not even as a zombie.
fn end_orphans(rig: &Rig, master: i32) {
    let named = |name: &'static str| {
        move || proc::children(master).into_iter().find(|child| child.name == name)
    };
    let worker = wait::until_some("a worker runs", named("sh"), || rig.log());
    let mut seen = Vec::new();
    let look = || (proc::children(worker.pid).len() == 2).then_some(());
    wait::until_some("it has two children", look, || rig.log());
    seen.extend(proc::children(worker.pid).iter().map(|child| child.pid));
    send(worker.pid, Signal::SIGKILL);
    for orphan in &seen {
        let adopted = || proc::stat(*orphan).filter(|stat| stat.parent == master);
        wait::until_some("the master adopts it", adopted, || rig.log());
        send(*orphan, Signal::SIGTERM);
    }
    for orphan in seen {
        let look = || proc::stat(orphan).is_none().then_some(());
        wait::until_some("no zombie is left", look, || rig.log());
    }
    let told = || rig.log().matches("which is no worker: killed by SIGTERM").count();
    wait::until_some("both are told", || (told() == 2).then_some(()), || rig.log());
    assert!(!rig.log().contains("ERROR"), "{}", rig.log());
}

fn a_master_that_is_a_subreaper_reaps_orphans() {
    let rig = Rig::new();
    let mut command = rig.einhorn(&DISOWNING);
    prepare(&mut command, || Ok(nix::sys::prctl::set_child_subreaper(true)?));
    let mut master = rig.launch(command);
    end_orphans(&rig, master.pid());
    master.signal(Signal::SIGTERM);
    assert!(master.ended().success());
}

fn a_master_that_is_the_first_process_reaps_orphans() {
    if !has("unshare") {
        return;
    }
    let permitted = Command::new("unshare").args(["--pid", "--fork", "true"]).output();
    if !permitted.is_ok_and(|output| output.status.success()) {
        println!("skipped: unshare(1) may not make a pid namespace here");
        return;
    }
    let rig = Rig::new();
    let mut command = rig.command("unshare");
    command.args(["--pid", "--fork", env!("CARGO_BIN_EXE_einhorn")]).args(DISOWNING);
    let mut unshare = rig.begin(command);
    let outside = unshare.id().cast_signed();
    let master = wait::until_some(
        "the master runs",
        || proc::children(outside).into_iter().find(|child| child.name == "einhorn"),
        || rig.log(),
    );
    end_orphans(&rig, master.pid);
    assert!(rig.log().contains("[MASTER 1]"), "{}", rig.log());
    send(master.pid, Signal::SIGTERM);
    let ended = wait::until_some("it leaves", || unshare.try_wait().unwrap(), || rig.log());
    assert!(ended.success(), "{ended}");
}
