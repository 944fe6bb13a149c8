//! Readers of the log that are gone, full or asleep: the master never waits for them.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Command;

use nix::fcntl::OFlag;
use nix::sys::signal::Signal;
use nix::unistd::pipe;

use crate::support::rig::{Master, Rig};
use crate::support::wire::Wire;
use crate::support::{ordinary_user, proc, terminal};

crate::tests![
    without_a_reader_the_master_runs_on_and_sleeps,
    a_sleeping_reader_of_a_pipe_holds_nobody_up,
    a_sleeping_reader_of_a_socket_holds_nobody_up,
    a_sleeping_reader_of_a_terminal_holds_nobody_up,
    a_pipe_that_only_another_may_open_holds_nobody_up,
    the_workers_standard_error_stays_blocking,
];

/// What reads the log, and what it is written to.
type Channel = (File, OwnedFd);

fn a_pipe() -> Channel {
    let (reader, writer) = pipe().unwrap();
    (reader.into(), writer)
}

fn a_socket() -> Channel {
    let (reader, writer) = UnixStream::pair().unwrap();
    (OwnedFd::from(reader).into(), writer.into())
}

fn a_terminal() -> Channel {
    let (reader, writer) = terminal::open();
    (reader, writer.into())
}

/// A master that logs there.
fn launch(rig: &Rig, mut command: Command, log: OwnedFd) -> Master<'_> {
    command.stderr(log);
    let child = command.spawn().unwrap();
    drop(command);
    rig.answering(child, rig.socket())
}

const SLEEPERS: [&str; 6] = ["-n", "2", "-m", "0", "sleep", "1000"];

/// Checks that commands are answered and a dead worker is replaced, and ends the master.
fn assert_well(mut master: Master<'_>) {
    assert!(master.say("signal", &["WINCH"]).contains("Successfully"));
    master.replaced(&master.settled(2)[..1], 2);
    proc::until_idle(master.pid());
    master.signal(Signal::SIGTERM);
    assert!(master.ended().success());
}

fn without_a_reader_the_master_runs_on_and_sleeps() {
    for channel in [a_pipe, a_socket, a_terminal] {
        let rig = Rig::new();
        let (reader, writer) = channel();
        let master = launch(&rig, rig.einhorn(&SLEEPERS), writer);
        drop(reader);
        proc::until_idle(master.pid());
        assert_well(master);
    }
}

/// How long the lines are that fill the log, besides their start.
const FILLING: usize = 10_000;

/// More lines than a reader's buffer and the master's own hold.
const LINES: usize = 60;

/// Logs more than can be kept while nobody reads.
pub(crate) fn overfill(rig: &Rig) {
    for number in 0..LINES {
        // Lines of one letter tell whether two were mixed.
        let letter = char::from(b'a' + u8::try_from(number % 26).unwrap());
        let pid = letter.to_string().repeat(FILLING);
        let wire = Wire::connect(rig);
        wire.send(format!("{{\"command\": \"worker:ack\", \"pid\": \"{pid}\"}}\n"));
        // The master closes the connection once it has logged the line.
        assert_eq!(wire.rest(), "");
    }
}

/// Reads lines until one tells how many were dropped; answers that number, and those of `overfill`
/// that arrived.
fn wake_up(reader: File) -> (usize, usize) {
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(reader));
    let mut filling_count = 0;
    loop {
        let line = lines.next().unwrap().unwrap();
        assert!(line.starts_with("[MASTER "), "{line}");
        if let Some((_, rest)) = line.split_once("valid pid (") {
            let filling = rest.trim_end_matches(['\r', ')']);
            assert_eq!(filling.len(), FILLING);
            assert!(filling.bytes().all(|byte| byte == filling.as_bytes()[0]));
            filling_count += 1;
        }
        if let Some((start, _)) = line.split_once(" log lines were dropped: nothing read") {
            return (start.rsplit(' ').next().unwrap().parse().unwrap(), filling_count);
        }
    }
}

/// A log of which nobody reads anything until it is overfull: commands are answered meanwhile, and
/// then the lines come, with the number of those that are lost.
fn assert_sleeping_reader_harmless(rig: &Rig, command: Command, (reader, writer): Channel) {
    let master = launch(rig, command, writer);
    master.settled(2);
    overfill(rig);
    proc::until_idle(master.pid());
    master.replaced(&master.settled(2)[..1], 2);
    let awake = reader.try_clone().unwrap();
    let woken = std::thread::spawn(move || wake_up(awake));
    master.until("the reader knows all", || woken.is_finished().then_some(()));
    let (dropped, arrived) = woken.join().unwrap();
    assert!(arrived > 25, "{arrived} lines of {FILLING} bytes: the master kept none");
    // Those of the worker's death and of its successor were dropped too.
    let lost = LINES - arrived;
    assert!((lost..=lost + 5).contains(&dropped), "{dropped} dropped, {arrived} arrived");
    let mut awake = reader.try_clone().unwrap();
    let drain = std::thread::spawn(move || {
        // A terminal ends with an error.
        let _ = awake.read_to_end(&mut Vec::new());
    });
    assert_well(master);
    drop(reader);
    drain.join().unwrap();
}

fn a_sleeping_reader_of_a_pipe_holds_nobody_up() {
    let rig = Rig::new();
    assert_sleeping_reader_harmless(&rig, rig.einhorn(&SLEEPERS), a_pipe());
}

fn a_sleeping_reader_of_a_socket_holds_nobody_up() {
    let rig = Rig::new();
    assert_sleeping_reader_harmless(&rig, rig.einhorn(&SLEEPERS), a_socket());
}

fn a_sleeping_reader_of_a_terminal_holds_nobody_up() {
    let rig = Rig::new();
    assert_sleeping_reader_harmless(&rig, rig.einhorn(&SLEEPERS), a_terminal());
}

fn a_pipe_that_only_another_may_open_holds_nobody_up() {
    if !ordinary_user::needs_root() {
        return;
    }
    let rig = Rig::new();
    let command = ordinary_user::command(&rig, env!("CARGO_BIN_EXE_einhorn"), &SLEEPERS);
    assert_sleeping_reader_harmless(&rig, command, a_pipe());
}

fn the_workers_standard_error_stays_blocking() {
    for (channel, prefix) in [
        (a_pipe as fn() -> Channel, "pipe:"),
        (a_socket, "socket:"),
        (a_terminal, "/dev/pts/"),
        (|| (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap().into()), "/"),
    ] {
        let rig = Rig::new();
        let (_reader, writer) = channel();
        let master = launch(&rig, rig.einhorn(&SLEEPERS), writer);
        for pid in master.settled(2).into_iter().chain([master.pid()]) {
            let target = proc::descriptors(pid)[&2].clone();
            assert!(target.to_str().unwrap().starts_with(prefix), "{}", target.display());
            assert!(!proc::flags(pid, 2).contains(OFlag::O_NONBLOCK), "{prefix}");
        }
    }
}
