//! The configuration: options fixed for the life of the master, and settings that the command
//! socket can change.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::state::{RolloutBounds, StopSchedule};

/// What makes a worker count as up (behaviour.md section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckMode {
    /// It sends `worker:ack`.
    Manual,
    /// It has been running for this long.
    Timer(Duration),
}

/// How much is logged: 0 everything, 1 info and errors, 2 errors only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Verbosity(pub u8);

impl Verbosity {
    /// Everything.
    pub const DEBUG: Verbosity = Verbosity(0);
    /// The default.
    pub const INFO: Verbosity = Verbosity(1);
    /// Errors only.
    pub const ERROR: Verbosity = Verbosity(2);
}

/// `--nice MASTER[:WORKER[:RENICE_CMD]]`: absolute nice levels, -20 to 19.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nice {
    /// The master's level; unchanged when absent.
    pub master: Option<i32>,
    /// The workers' level; the one that the master was started with when absent.
    pub worker: Option<i32>,
    /// A command that sets a level (`CMD LEVEL -p PID`), for masters without the privilege to do
    /// so.
    pub renice_command: Option<Vec<String>>,
}

/// The default name of one of a master's files: `einhorn.EXTENSION`, or `einhorn-NAME.EXTENSION`
/// (behaviour.md section 1).
pub fn default_file_name(name: Option<&str>, extension: &str) -> String {
    match name {
        Some(name) => format!("einhorn-{name}.{extension}"),
        None => format!("einhorn.{extension}"),
    }
}

impl Config {
    /// The defaults, for a command line with no options: one worker, files in `/tmp`.
    pub fn new(command: Vec<OsString>) -> Config {
        let file = |extension| PathBuf::from("/tmp").join(default_file_name(None, extension));
        Config {
            original_command: command.clone(),
            command,
            target: 1,
            backlog: 100,
            respawn_interval: Duration::from_secs(1),
            ack_mode: AckMode::Timer(Duration::from_secs(1)),
            signal_timeout: None,
            stop: None,
            max_unacked: None,
            max_upgrade_additional: None,
            retries: None,
            kill_children_on_exit: false,
            command_socket_as_fd: false,
            command_name: None,
            socket_path: file("sock"),
            pidfile: file("pid"),
            lockfile: file("lock"),
            is_lockfile_named: false,
            nice: Nice::default(),
            reexec_as: Vec::new(),
            reexec_mode: ReexecMode::default(),
            drop_env_vars: Vec::new(),
            verbosity: Verbosity::INFO,
            syslog: false,
            capture_stderr: false,
            rollout: RolloutBounds::default(),
            chdir: None,
            env_file: None,
            metrics_file: None,
        }
    }

    /// Which signals a worker gets when it is asked to stop.
    pub fn stop_schedule(&self) -> StopSchedule {
        self.stop.clone().unwrap_or_else(|| StopSchedule::usual(self.signal_timeout))
    }

    /// The lock file of the command socket: the master that serves the socket holds the lock.
    pub fn socket_lock(&self) -> PathBuf {
        let mut name = self.socket_path.clone().into_os_string();
        name.push(".lock");
        name.into()
    }
}

/// The highest target number of workers: well above the original's 1000, and below the size of a
/// process table (`kernel.pid_max` 32768) and of a descriptor table.
pub const WORKERS_MAX: u32 = 10_000;

/// What a re-exec runs (docs/handover.md).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReexecMode {
    /// The `--reexec-as` command.
    #[default]
    Exec,
    /// The einhorn that this command executed during the preflight, executed the same way.
    Pinned,
}

/// The checked options and settings, with defaults filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The program and its arguments as typed, `srv:` words included.
    pub original_command: Vec<OsString>,
    /// The program (resolved in PATH) and its arguments, `srv:` words replaced.
    pub command: Vec<OsString>,
    /// `-n`: how many workers should run; 1 to [`WORKERS_MAX`].
    pub target: u32,
    /// `-l`: the listen(2) backlog.
    pub backlog: u32,
    /// `-s`: the respawn interval, which is the initial delay of the back-off.
    pub respawn_interval: Duration,
    /// `-m`.
    pub ack_mode: AckMode,
    /// `-t`: how long a worker may take to stop before it is killed; no limit when absent.
    pub signal_timeout: Option<Duration>,
    /// `--stop`; never together with `-t`.
    pub stop: Option<StopSchedule>,
    /// `--max-unacked`; the number of processors when absent.
    pub max_unacked: Option<u32>,
    /// `--max-upgrade-additional`; no limit when absent.
    pub max_upgrade_additional: Option<u32>,
    /// `-r`: the number of consecutive early deaths after which the master gives up; never when
    /// absent.
    pub retries: Option<u32>,
    /// `-k`.
    pub kill_children_on_exit: bool,
    /// `-g`.
    pub command_socket_as_fd: bool,
    /// `-c`.
    pub command_name: Option<String>,
    /// `-d`, absolute.
    pub socket_path: PathBuf,
    /// `-e`, absolute.
    pub pidfile: PathBuf,
    /// `-f`, absolute.
    pub lockfile: PathBuf,
    /// Whether `-f` was given: a lockfile named by the operator is held for the life of the master.
    pub is_lockfile_named: bool,
    /// `--nice`.
    pub nice: Nice,
    /// `--reexec-as`, split into words; empty when absent.
    pub reexec_as: Vec<OsString>,
    /// `--reexec-mode`.
    pub reexec_mode: ReexecMode,
    /// `--drop-env-var`, in the order given.
    pub drop_env_vars: Vec<OsString>,
    /// `-q`, `-v`.
    pub verbosity: Verbosity,
    /// `--syslog`: logs to syslog instead of standard error.
    pub syslog: bool,
    /// `--capture-stderr`: the master captures the workers' standard error and passes it on.
    pub capture_stderr: bool,
    /// The bounds of a roll-out.
    pub rollout: RolloutBounds,
    /// `--chdir`, absolute, symbolic links not resolved.
    pub chdir: Option<PathBuf>,
    /// `--env-file`, absolute, symbolic links not resolved.
    pub env_file: Option<PathBuf>,
    /// `--metrics-file`, absolute.
    pub metrics_file: Option<PathBuf>,
}
