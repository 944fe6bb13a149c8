//! Signals to the master, and how it stops.

use std::fs;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::rig::{Rig, names, send};
use crate::support::signal_notes::Notes;
use crate::support::{proc, wait};

crate::tests![
    int_usr2_and_term_end_when_all_workers_are_gone,
    quit_ends_at_once_with_status_1,
    quit_ends_with_status_1_without_workers_too,
    a_second_signal_while_stopping_reaches_the_workers,
    harmless_signals_harm_nothing,
    a_flood_of_signals_is_survived,
    workers_that_outlive_their_signal_are_killed,
    workers_that_go_in_time_are_not_killed,
    nothing_is_started_after_a_stop,
    a_stop_during_the_first_start_leaves_no_worker,
    files_that_others_have_put_in_place_are_left_alone,
];

/// Who sends the signals here, as the log tells it.
fn sender() -> String {
    format!("from pid {} (uid {})", std::process::id(), nix::unistd::getuid())
}

fn launched_count(rig: &Rig) -> usize {
    rig.log().matches("===> Launched").count()
}

fn int_usr2_and_term_end_when_all_workers_are_gone() {
    for (signal, passed_on) in [
        (Signal::SIGINT, Signal::SIGUSR2),
        (Signal::SIGUSR2, Signal::SIGUSR2),
        (Signal::SIGTERM, Signal::SIGTERM),
    ] {
        let rig = Rig::new();
        let notes = Notes::new(&rig);
        let unix = format!("unix:{}", rig.path("listener").display());
        let mut master = notes.start(&rig, &["-n", "3", "-b", &unix], 1);
        let workers = master.settled(3);
        master.signal(signal);
        assert_eq!(master.ended().code(), Some(0));
        for worker in workers {
            assert_eq!(notes.of(worker), [passed_on]);
            assert!(proc::stat(worker).is_none());
        }
        let log = rig.log();
        assert!(log.contains(&format!("Received {signal} {}", sender())), "{log}");
        assert_eq!(log.matches(": exit status 0 after").count(), 3, "{log}");
        assert_eq!(launched_count(&rig), 3, "{log}");
        assert_eq!(names(&rig.path("")), ["einhorn.lock", "einhorn.sock.lock", "log", "notes"]);
    }
}

fn quit_ends_at_once_with_status_1() {
    let rig = Rig::new();
    let notes = Notes::new(&rig);
    let mut master = notes.start(&rig, &["-n", "3", "-b", "127.0.0.1:0"], 2);
    let workers = master.settled(3);
    master.signal(Signal::SIGQUIT);
    assert_eq!(master.ended().code(), Some(1));
    for worker in workers {
        notes.until(worker, &[Signal::SIGQUIT]);
        assert!(!proc::has_ended(worker));
    }
    assert!(rig.log().contains(&format!("Received SIGQUIT {}", sender())), "{}", rig.log());
    assert_eq!(names(&rig.path("")), ["einhorn.lock", "einhorn.sock.lock", "log", "notes"]);
}

fn quit_ends_with_status_1_without_workers_too() {
    let rig = Rig::new();
    let mut master = rig.start(&["-m", "manual", "-s", "30"], &["exit=0"]);
    master.until_logged("before it was ACKed");
    master.signal(Signal::SIGQUIT);
    assert_eq!(master.ended().code(), Some(1));
}

fn a_second_signal_while_stopping_reaches_the_workers() {
    let rig = Rig::new();
    let notes = Notes::new(&rig);
    let mut master = notes.start(&rig, &["-n", "2"], 4);
    let workers = master.settled(2);
    let mut expected = Vec::new();
    for (signal, passed_on) in [
        (Signal::SIGINT, Signal::SIGUSR2),
        (Signal::SIGINT, Signal::SIGUSR2),
        (Signal::SIGTERM, Signal::SIGTERM),
    ] {
        master.signal(signal);
        expected.push(passed_on);
        for worker in &workers {
            notes.until(*worker, &expected);
        }
        // It waits for its workers, and answers meanwhile.
        assert_eq!(master.workers().iter().filter(|worker| worker.is_stopping).count(), 2);
        assert!(!master.state()[":respawn"].as_bool().unwrap());
    }
    master.signal(Signal::SIGQUIT);
    assert_eq!(master.ended().code(), Some(1));
    expected.push(Signal::SIGQUIT);
    for worker in &workers {
        notes.until(*worker, &expected);
    }
}

fn harmless_signals_harm_nothing() {
    let rig = Rig::new();
    let notes = Notes::new(&rig);
    let mut master = notes.start(&rig, &["-n", "2"], 1);
    let workers = master.settled(2);
    for (signal, told) in [(Signal::SIGALRM, "ignoring ALRM"), (Signal::SIGUSR1, "ignoring USR1")] {
        master.signal(signal);
        master.until_logged(&format!("Received {signal} {}: {told}", sender()));
    }
    let silent = [
        Signal::SIGPIPE,
        Signal::SIGWINCH,
        Signal::SIGCONT,
        Signal::SIGCHLD,
        Signal::SIGXFSZ,
        Signal::SIGURG,
        Signal::SIGIO,
        Signal::SIGPROF,
        Signal::SIGPWR,
        Signal::SIGSTKFLT,
        Signal::SIGTTOU,
        Signal::SIGVTALRM,
    ];
    for number in silent.iter().map(|signal| *signal as i32).chain(32..=64) {
        // SAFETY: kill touches no memory; nix knows no real-time signals.
        assert_eq!(unsafe { libc::kill(master.pid(), number) }, 0);
        assert_eq!(master.settled(2), workers, "after {number}");
    }
    assert!(master.state()[":respawn"].as_bool().unwrap());
    master.signal(Signal::SIGTERM);
    assert!(master.ended().success());
    for worker in workers {
        assert_eq!(notes.of(worker), [Signal::SIGTERM]);
    }
}

fn a_flood_of_signals_is_survived() {
    let rig = Rig::new();
    let mut master = rig.start(&["-n", "4", "-m", "manual"], &["ack", "wait"]);
    let workers = master.settled(4);
    let harmless = [Signal::SIGALRM, Signal::SIGUSR1, Signal::SIGPIPE, Signal::SIGCHLD];
    for round in 0..500 {
        master.signal(harmless[round % harmless.len()]);
        if round % 125 == 0 {
            send(workers[round / 125], Signal::SIGKILL);
        }
    }
    master.until_logged_times(4, "killed by SIGKILL");
    master.settled(4);
    master.signal(Signal::SIGHUP);
    master.until_logged("Received SIGHUP");
    for _ in 0..100 {
        // The master may be gone before the last one.
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(master.pid()), Signal::SIGTERM);
    }
    assert!(master.ended().success());
    // A candidate of the upgrade may be dying yet.
    rig.until_empty();
}

fn workers_that_outlive_their_signal_are_killed() {
    for stop in ["die", "SIGTERM", "SIGINT"] {
        let rig = Rig::new();
        let steps = ["ignore=SIGTERM", "ignore=SIGUSR2", "ack", "wait"];
        let mut master = rig.start(&["-n", "2", "-m", "manual", "-t", "0.3"], &steps);
        let workers = master.settled(2);
        match stop.parse::<Signal>() {
            Ok(signal) => master.signal(signal),
            Err(_) => assert!(master.say(stop, &[]).contains("going down"), "{}", rig.log()),
        }
        assert!(master.ended().success());
        let log = rig.log();
        for worker in workers {
            let told = format!("Worker {worker} is still there ");
            let mut told = log.lines().filter(|line| line.contains(&told));
            let line = told.next().unwrap_or_else(|| panic!("{log}"));
            assert!(line.ends_with("s after it was asked to stop: sending KILL"), "{log}");
            assert_eq!(told.next(), None, "{log}");
        }
        assert_eq!(log.matches("killed by SIGKILL").count(), 2, "{log}");
    }
}

fn workers_that_go_in_time_are_not_killed() {
    let rig = Rig::new();
    let options = ["-n", "2", "-m", "manual", "-t", "1000"];
    let mut master = rig.start(&options, &["ack", "wait"]);
    master.settled(2);
    assert!(master.say("die", &["TERM"]).contains("Successfully sent TERMs to 2 processes"));
    assert!(master.ended().success());
    assert_eq!(rig.log().matches("killed by SIGTERM").count(), 2, "{}", rig.log());
    assert!(!rig.log().contains("KILL"), "{}", rig.log());
}

fn nothing_is_started_after_a_stop() {
    let rig = Rig::new();
    let notes = Notes::new(&rig);
    let mut master = notes.start(&rig, &["-n", "3"], 2);
    let workers = master.settled(3);
    master.signal(Signal::SIGINT);
    for worker in &workers {
        notes.until(*worker, &[Signal::SIGUSR2]);
    }
    send(workers[0], Signal::SIGKILL);
    master.until_logged("killed by SIGKILL");
    for (command, args) in [("inc", &[][..]), ("set_workers", &["5"])] {
        let answer = master.say(command, args);
        assert!(answer.contains("going down"), "{answer}");
    }
    wait::throughout(Duration::from_millis(200), || {
        assert_eq!(master.workers().len(), 2, "{}", rig.log());
    });
    master.signal(Signal::SIGTERM);
    assert!(master.ended().success());
    assert_eq!(launched_count(&rig), 3, "{}", rig.log());
}

fn a_stop_during_the_first_start_leaves_no_worker() {
    for (signal, status) in [(Signal::SIGTERM, 0), (Signal::SIGINT, 0), (Signal::SIGQUIT, 1)] {
        let rig = Rig::new();
        let options = ["-n", "200", "-m", "0", "sleep", "1000"];
        // SIGQUIT would have every worker leave a core file.
        let mut master = rig.begin(rig.shell("ulimit -c 0; exec \"$@\"", &options));
        let look = || rig.log().contains("Launched").then_some(());
        wait::until_some("the first worker runs", look, || rig.log());
        send(master.id().cast_signed(), signal);
        let ended = wait::until_some("it leaves", || master.try_wait().unwrap(), || rig.log());
        assert_eq!(ended.code(), Some(status), "{}", rig.log());
        rig.until_empty();
        let log = rig.log();
        let (_, after) = log.split_once("Received SIG").unwrap();
        assert!(!after.contains("Launched"), "{after}");
    }
}

fn files_that_others_have_put_in_place_are_left_alone() {
    let rig = Rig::new();
    let unix = rig.path("listener");
    let bind = format!("unix:{}", unix.display());
    let mut master = rig.start(&["-m", "manual", "-b", &bind], &["ack", "wait"]);
    master.settled(1);
    let pidfile = rig.path("einhorn.pid");
    fs::remove_file(&pidfile).unwrap();
    fs::write(&pidfile, "another's").unwrap();
    for socket in [&rig.socket(), &unix] {
        fs::remove_file(socket).unwrap();
        drop(UnixListener::bind(socket).unwrap());
    }
    master.signal(Signal::SIGTERM);
    assert!(master.ended().success());
    let left =
        ["einhorn.lock", "einhorn.pid", "einhorn.sock", "einhorn.sock.lock", "listener", "log"];
    assert_eq!(names(&rig.path("")), left);
    assert_eq!(fs::read_to_string(pidfile).unwrap(), "another's");
}
