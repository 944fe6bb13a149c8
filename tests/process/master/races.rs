//! Masters that start at one instant: one has what all want, and the others give up.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Child;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::Signal;

use crate::support::rig::{Master, Rig, names};
use crate::support::wait;

crate::tests![
    of_two_masters_of_one_name_one_wins,
    of_masters_with_one_listener_one_wins,
    of_masters_with_one_command_socket_one_wins,
    of_masters_with_one_pid_file_one_wins,
];

const SLEEPER: [&str; 2] = ["sleep", "1000"];

fn stop(mut master: Master<'_>) {
    master.signal(Signal::SIGTERM);
    assert!(master.ended().success());
}

/// Looks without a pause whether the command socket is closed to others and the pid file is whole
/// at every instant at which they are there.
fn watch(rig: &Rig, until: &AtomicBool) {
    while !until.load(Ordering::Relaxed) {
        if let Ok(socket) = fs::metadata(rig.socket()) {
            assert_eq!(socket.mode() & 0o777, 0o600, "the mode of the command socket");
        }
        if let Ok(pid) = fs::read_to_string(rig.path("einhorn.pid")) {
            assert!(pid.trim().parse::<u32>().is_ok() && pid.ends_with('\n'), "{pid:?}");
        }
    }
}

/// Says that it is over when it ends, in whatever way.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Starts masters at once, without a umask, each with arguments of its own.
fn start_at_once(rig: &Rig, arguments: &[Vec<String>]) -> Vec<Child> {
    let barrier = Barrier::new(arguments.len());
    let start = |arguments: &Vec<String>| {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let command = rig.shell("umask 0; exec \"$@\"", &[&arguments[..], &SLEEPER].concat());
        barrier.wait();
        rig.begin(command)
    };
    std::thread::scope(|scope| {
        let start = &start;
        let threads = arguments.iter().map(|arguments| scope.spawn(move || start(arguments)));
        let threads: Vec<_> = threads.collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// Waits until all but one have given up; answers the one, and its number.
fn winner(rig: &Rig, masters: Vec<Child>) -> (usize, Child) {
    let mut left: Vec<(usize, Child)> = masters.into_iter().enumerate().collect();
    while left.len() > 1 {
        let has_ended = |(_, child): &mut (usize, Child)| child.try_wait().unwrap().is_some();
        let find = || left.iter_mut().position(has_ended);
        let loser = wait::until_some("one gives up", find, || rig.log());
        let status = left.remove(loser).1.wait().unwrap();
        assert_eq!(status.code(), Some(1), "{}", rig.log());
    }
    left.remove(0)
}

fn of_two_masters_of_one_name_one_wins() {
    let rig = Rig::new();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| watch(&rig, &is_over));
        let over = Over(&is_over);
        for round in 0..20 {
            let both = start_at_once(&rig, &[vec![], vec![]]);
            let winner = rig.answering(winner(&rig, both).1, rig.socket());
            assert_eq!(
                fs::read_to_string(rig.path("einhorn.pid")).unwrap(),
                format!("{}\n", winner.pid())
            );
            assert_eq!(
                names(&rig.path("")),
                ["einhorn.lock", "einhorn.pid", "einhorn.sock", "einhorn.sock.lock", "log"]
            );
            let refusals = rig.log().matches("another einhorn holds the lock").count();
            assert_eq!(refusals, round + 1, "{}", rig.log());
            stop(winner);
            // Every other time the lock file has to be made too.
            if round % 2 == 0 {
                fs::remove_file(rig.path("einhorn.sock.lock")).unwrap();
            }
        }
        drop(over);
        watcher.join().unwrap();
    });
}

/// A path that many masters want, who have nothing else in common.
struct Prize {
    /// The options of the master of a number, who wants the path `one`.
    options: fn(usize) -> String,
    /// Its command socket.
    socket: fn(usize) -> String,
    /// Leaves what a dead master may have left there.
    leave: fn(&Path),
    /// Whether the path belongs to the master of this pid.
    is_of: fn(&Path, i32) -> bool,
}

/// How many start at once, and how often: enough for a mistake to show, nearly always.
const CROWD: usize = 6;
const ROUNDS: usize = 16;

fn assert_one_wins(prize: &Prize) {
    let rig = Rig::new();
    let path = rig.path("one");
    for round in 0..ROUNDS {
        if round % 2 == 0 {
            (prize.leave)(&path);
        }
        let words = |number| (prize.options)(number).split(' ').map(str::to_owned).collect();
        let arguments: Vec<Vec<String>> = (0..CROWD).map(words).collect();
        let (number, child) = winner(&rig, start_at_once(&rig, &arguments));
        let master = rig.answering(child, rig.path(&(prize.socket)(number)));
        assert!((prize.is_of)(&path, master.pid()), "{}", rig.log());
        stop(master);
        assert!(!fs::exists(&path).unwrap(), "{}", rig.log());
    }
}

fn leave_socket(path: &Path) {
    drop(UnixListener::bind(path).unwrap());
}

fn of_masters_with_one_listener_one_wins() {
    assert_one_wins(&Prize {
        options: |number| format!("-c {number} -b unix:one"),
        socket: |number| format!("einhorn-{number}.sock"),
        leave: leave_socket,
        is_of: |path, _| UnixStream::connect(path).is_ok(),
    });
}

fn of_masters_with_one_command_socket_one_wins() {
    assert_one_wins(&Prize {
        options: |number| format!("-d one -e e{number} -f f{number}"),
        socket: |_| "one".to_owned(),
        leave: leave_socket,
        is_of: |path, _| UnixStream::connect(path).is_ok(),
    });
}

fn of_masters_with_one_pid_file_one_wins() {
    assert_one_wins(&Prize {
        options: |number| format!("-d d{number} -e one -f f{number}"),
        socket: |number| format!("d{number}"),
        leave: |path| fs::write(path, "1\n").unwrap(),
        is_of: |path, pid| fs::read_to_string(path).unwrap() == format!("{pid}\n"),
    });
}
