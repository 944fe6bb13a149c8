//! Figures 1 and 5: a fleet from its first start to its last ACK, and the same after it was lost.

use std::ffi::{CString, OsString};
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, posix_spawn};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use crate::report::{Budget, Row, Samples, heading, rounds};
use crate::rig::Rig;
use crate::{Effort, roles};

const FIRST_START: usize = 100;
const LOST: usize = 20;

/// One round, each side right after the other, so that the same noise meets both.
struct Round {
    from_start: Duration,
    from_ready: Duration,
    bare: Duration,
}

/// Figure 1.
pub(crate) fn first_start(rig: &Rig, effort: &Effort) {
    let measured = rounds(effort, || Round { bare: bare(rig, FIRST_START), ..started(rig) });
    let bare = Samples::ms(measured.iter().map(|round| round.bare));
    let from_start = Samples::ms(measured.iter().map(|round| round.from_start));
    let from_ready = Samples::ms(measured.iter().map(|round| round.from_ready));
    heading(1, &format!("{FIRST_START} workers, from nothing to the last ACK"));
    let row = |what, samples, bare, budget| {
        Row { what, unit: "ms", samples, bare, budget }.print();
    };
    row("einhorn, from the master's start", &from_start, Some(&bare), Some(Budget::Times(1.5)));
    row("einhorn, once the master is ready", &from_ready, Some(&bare), Some(Budget::Times(1.5)));
    row("bare: posix_spawn each, then read the ACKs", &bare, None, None);
}

/// Figure 5.
pub(crate) fn replacement(rig: &Rig, effort: &Effort) {
    let measured = rounds(effort, || (replaced(rig), bare(rig, LOST)));
    let bare = Samples::ms(measured.iter().map(|round| round.1));
    let replaced = Samples::ms(measured.iter().map(|round| round.0));
    heading(5, &format!("{LOST} ACKed workers killed at once, until {LOST} are ACKed again"));
    let budget = Some(Budget::Below(500.0));
    let what = "einhorn, -s 30, default --max-unacked";
    Row { what, unit: "ms", samples: &replaced, bare: Some(&bare), budget }.print();
    let what = "bare: posix_spawn each, then read the ACKs";
    Row { what, unit: "ms", samples: &bare, bare: None, budget: None }.print();
}

fn started(rig: &Rig) -> Round {
    let start = Instant::now();
    let mut master = rig.start(FIRST_START, &[]);
    while !master.next_line().contains("Running") {}
    let ready = Instant::now();
    master.until(FIRST_START, 0);
    Round { from_start: start.elapsed(), from_ready: ready.elapsed(), bare: Duration::ZERO }
}

fn replaced(rig: &Rig) -> Duration {
    let mut master = rig.start_idle(LOST, &["-s", "30"]);
    let start = Instant::now();
    for worker in master.workers() {
        kill(worker, Signal::SIGKILL).unwrap();
    }
    master.until(LOST, LOST);
    start.elapsed()
}

/// The least that any program must do to start workers and read an ACK from each.
fn bare(rig: &Rig, count: usize) -> Duration {
    let path = rig.path("bare.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let environment = environment(Some(("EINHORN_SOCK_PATH", &path)));
    let words = words(roles::WORKER);
    let start = Instant::now();
    let workers: Vec<Pid> = (0..count).map(|_| launch(&words, &environment)).collect();
    for _ in &workers {
        let mut line = Vec::new();
        listener.accept().unwrap().0.read_to_end(&mut line).unwrap();
        assert!(line.ends_with(b"}\n"), "not an ACK: {}", String::from_utf8_lossy(&line));
    }
    let took = start.elapsed();
    for worker in workers {
        kill(worker, Signal::SIGKILL).unwrap();
        waitpid(worker, None).unwrap();
    }
    std::fs::remove_file(path).unwrap();
    took
}

/// This program's environment, and more.
pub(crate) fn environment(more: Option<(&str, &Path)>) -> Vec<CString> {
    let more = more.map(|(name, value)| (name.into(), value.into()));
    let variables = std::env::vars_os().chain(more);
    let line =
        |(name, value): (OsString, OsString)| [name.as_bytes(), value.as_bytes()].join(&b'=');
    variables.map(|variable| CString::new(line(variable)).unwrap()).collect()
}

/// The words that start this program in a role.
pub(crate) fn words(role: &str) -> [CString; 2] {
    let program = std::env::current_exe().unwrap().into_os_string().into_vec();
    [CString::new(program).unwrap(), CString::new(role).unwrap()]
}

/// Starts a program with posix_spawn(3), which changes nothing for it.
pub(crate) fn launch(words: &[CString], environment: &[CString]) -> Pid {
    let actions = PosixSpawnFileActions::init().unwrap();
    let attributes = PosixSpawnAttr::init().unwrap();
    posix_spawn(words[0].as_c_str(), &actions, &attributes, words, environment).unwrap()
}
