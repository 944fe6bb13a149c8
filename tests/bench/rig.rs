//! A folder, masters in it, and the end of everything they started.

use std::io::{BufRead, BufReader, PipeReader, PipeWriter};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, dup2_stdin};
use tempfile::TempDir;

use crate::{roles, wait};

/// A folder, and what every process of a run hangs on.
pub(crate) struct Rig {
    folder: TempDir,
    /// Workers read their standard input, which ends with this program, however it ends.
    _lifeline: PipeWriter,
}

impl Rig {
    pub(crate) fn new() -> Rig {
        let (input, lifeline) = std::io::pipe().unwrap();
        dup2_stdin(input).unwrap();
        let folder = tempfile::Builder::new().prefix("einhorn-bench-").tempdir().unwrap();
        Rig { folder, _lifeline: lifeline }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A path in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// The command socket of a master.
    pub(crate) fn socket(&self) -> PathBuf {
        self.path("einhorn.sock")
    }

    /// Starts a master of this many workers, which ACK themselves.
    pub(crate) fn start(&self, workers: usize, options: &[&str]) -> Master {
        let (log, stderr) = std::io::pipe().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_einhorn"));
        command.env("TMPDIR", self.folder()).stderr(stderr);
        command.args(["-m", "manual", "-n", &workers.to_string()]).args(options);
        command.arg(std::env::current_exe().unwrap()).arg(roles::WORKER);
        let dies_with_us = || Ok(prctl::set_pdeathsig(Signal::SIGTERM)?);
        // SAFETY: the closure makes one system call and touches no memory.
        let child = unsafe { command.pre_exec(dies_with_us) }.spawn().unwrap();
        Master { child, log: BufReader::new(log), lines: Vec::new() }
    }

    /// The same, once all workers are ACKed and the master has nothing left to do.
    pub(crate) fn start_idle(&self, workers: usize, options: &[&str]) -> Master {
        let mut master = self.start(workers, options);
        master.until(workers, 0);
        let pid = master.pid();
        let is_asleep = || status(pid, "State:").starts_with('S').then_some(());
        wait::until_some("the master is asleep", is_asleep, || master.lines.join(""));
        master
    }
}

/// A running master; dropped, it is told to stop, and waited for.
pub(crate) struct Master {
    child: Child,
    log: BufReader<PipeReader>,
    /// What it has logged.
    lines: Vec<String>,
}

impl Master {
    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// Waits for its next line in the log.
    pub(crate) fn next_line(&mut self) -> &str {
        let mut line = String::new();
        let length = self.log.read_line(&mut line).unwrap();
        assert!(length > 0, "the master left:\n{}", self.lines.join(""));
        self.lines.push(line);
        self.lines.last().unwrap()
    }

    /// Waits until so many more workers are ACKed, and so many have exited.
    pub(crate) fn until(&mut self, acks: usize, exits: usize) {
        let (mut acked, mut exited) = (0, 0);
        while acked < acks || exited < exits {
            let line = self.next_line();
            acked += usize::from(line.contains(" manual ACKs"));
            exited += usize::from(line.contains("===> Exited"));
        }
    }

    /// The workers that it has started so far.
    pub(crate) fn workers(&self) -> Vec<Pid> {
        let launched = self.lines.iter().filter_map(|line| line.split_once("===> Launched "));
        let words = launched.filter_map(|(_, rest)| rest.split(' ').next());
        words.map(|word| Pid::from_raw(word.parse().unwrap())).collect()
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        // It may have left already; the workers of one that was killed end with this program.
        let _ = kill(Pid::from_raw(self.pid()), Signal::SIGTERM);
        let mut rest = String::new();
        // Its log ends when it and its workers have closed it.
        while self.log.read_line(&mut rest).is_ok_and(|length| length > 0) {}
        let _ = self.child.wait();
    }
}

/// A field of `/proc/PID/status`, without its unit.
pub(crate) fn status(pid: i32, field: &str) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
    line.trim().trim_end_matches(" kB").to_owned()
}

/// The same as a number.
pub(crate) fn number(pid: i32, field: &str) -> f64 {
    status(pid, field).parse().unwrap()
}
