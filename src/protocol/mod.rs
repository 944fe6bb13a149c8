//! The words on the command socket (behaviour.md section 7).
//!
//! Bounded bytes become lines, lines become requests, replies become lines. Nothing here reads or
//! writes a socket.

mod line;
mod news;
mod psych;
mod reply;
mod request;
mod settings;
mod value;

pub use line::{LINE_MAX, Line, LineBuffer, escape, unescape};
pub use news::{End, News, NewsFailure, NewsStage, Numbers, Progress};
pub use psych::{Psych, as_yaml, document};
pub use reply::Reply;
pub use request::{Args, BadRequest, Request};
pub use settings::{Bound, Setting, SettingError, parse_settings, span};

/// One command of the command socket.
#[derive(Debug)]
pub struct Command {
    /// What a client sends.
    pub name: &'static str,
    /// A line for `help`; `None` for those that programs send and people do not.
    pub help: Option<&'static str>,
}

/// Every command: `help`, the reply to an unknown command, the shell's completion and the
/// documents come from this table.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "abort",
        help: Some("Stop the upgrade in progress; the old code keeps serving, or is restored"),
    },
    Command {
        name: "config",
        help: Some(
            "Change settings of the running master (args: a YAML or JSON mapping, such as \
             '{seconds: 2}')",
        ),
    },
    Command { name: "dec", help: Some("Run one worker fewer (args: [--wait])") },
    Command {
        name: "die",
        help: Some(
            "Send SIGNAL (default: USR2) to all workers, stop spawning new ones, and exit once \
             all workers are gone (args: [SIGNAL] [--wait])",
        ),
    },
    Command { name: "ehlo", help: None },
    Command { name: "help", help: Some("Print out available commands") },
    Command { name: "inc", help: Some("Run one worker more (args: [--wait])") },
    Command { name: "louder", help: Some("Log more") },
    Command { name: "metrics", help: Some("Get OpenMetrics text about master and workers") },
    Command { name: "quieter", help: Some("Log less") },
    Command {
        name: "reload",
        help: Some(
            "Re-execute the master without replacing its workers (args: [--to-ruby] to hand back \
             to a Ruby Einhorn)",
        ),
    },
    Command { name: "set_workers", help: Some("Run N workers (args: N [--wait])") },
    Command {
        name: "signal",
        help: Some("Send one or more signals to all workers (args: SIG1 [SIG2 ...])"),
    },
    Command { name: "state", help: Some("Get a dump of the master's current state") },
    Command {
        name: "status",
        help: Some("Show how master, workers and listeners are (args: [--json])"),
    },
    Command {
        name: "upgrade",
        help: Some(
            "Re-execute the master, then replace the workers gradually by ones of the newest code \
             (args: [--to-ruby])",
        ),
    },
    Command {
        name: "upgrade_fleet",
        help: Some(
            "Re-execute the master, then start a whole new set of workers and stop the old ones \
             once all new ones are up (args: [--to-ruby])",
        ),
    },
    Command {
        name: "wait",
        help: Some("Wait for the upgrade in progress, or tell how the last one ended"),
    },
    Command { name: "worker:ack", help: None },
    Command { name: "worker:ping", help: None },
];

/// The commands that people use, a line each.
pub fn command_list() -> String {
    let lines: Vec<String> = COMMANDS
        .iter()
        .filter_map(|command| Some(format!("{}: {}", command.name, command.help?)))
        .collect();
    lines.join("\n")
}
