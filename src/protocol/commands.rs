//! The table of commands.

/// One command of the command socket.
#[derive(Debug)]
pub struct Command {
    /// Its name in a request.
    pub name: &'static str,
    /// Its line in `help`; `None` for commands that only programs send.
    pub help: Option<&'static str>,
}

/// Every command. `help`, the reply to an unknown command, the shell's completion and the tests of
/// the documents use this table.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "abort",
        help: Some("Stop the upgrade in progress; the old code keeps serving, or is restored"),
    },
    Command {
        name: "config",
        help: Some(
            "Change settings of the running master (args: a YAML or JSON mapping such as \
             '{seconds: 2}')",
        ),
    },
    Command {
        name: "dec",
        help: Some("Run one worker fewer (args: [--wait] to wait until it has stopped)"),
    },
    Command {
        name: "die",
        help: Some(
            "Send SIGNAL (default: USR2) to all workers, start no more, and exit once all have \
             exited (args: [SIGNAL] [--wait] to wait until then)",
        ),
    },
    Command { name: "ehlo", help: None },
    Command { name: "help", help: Some("List the commands") },
    Command {
        name: "inc",
        help: Some("Run one worker more (args: [--wait] to wait until it is up)"),
    },
    Command { name: "louder", help: Some("Log more") },
    Command {
        name: "metrics",
        help: Some("Print metrics of the master, workers and listeners, in OpenMetrics format"),
    },
    Command { name: "quieter", help: Some("Log less") },
    Command {
        name: "reload",
        help: Some(
            "Re-execute the master without replacing its workers (args: [--to-ruby] to hand back \
             to a Ruby Einhorn)",
        ),
    },
    Command {
        name: "set_workers",
        help: Some(
            "Run N workers (args: N [--wait] to wait until exactly N are up and \
             the others are gone)",
        ),
    },
    Command {
        name: "signal",
        help: Some("Send one or more signals to all workers (args: SIGNAL...)"),
    },
    Command { name: "state", help: Some("Print the master's state as YAML") },
    Command {
        name: "status",
        help: Some("Print the status of the master, workers and listeners (args: [--json])"),
    },
    Command {
        name: "upgrade",
        help: Some(
            "Re-execute the master, then gradually replace its workers with new ones (args: \
             [--drained] to wait until the old workers are gone, or [--to-ruby] to hand back to a \
             Ruby Einhorn)",
        ),
    },
    Command {
        name: "upgrade_fleet",
        help: Some(
            "Re-execute the master, then start a whole new set of workers and stop the old ones \
             once all new ones are up (args: [--drained] to wait until those are gone, or \
             [--to-ruby] to hand back to a Ruby Einhorn)",
        ),
    },
    Command {
        name: "wait",
        help: Some(
            "Wait for the upgrade in progress, or report how the last one ended (args: \
             [--drained] to wait until the old workers are gone)",
        ),
    },
    Command { name: "worker:ack", help: None },
    Command { name: "worker:ping", help: None },
];

/// The commands that have help, one per line.
pub fn command_list() -> String {
    let lines: Vec<String> = COMMANDS
        .iter()
        .filter_map(|command| Some(format!("{}: {}", command.name, command.help?)))
        .collect();
    lines.join("\n")
}
