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
    with_help("abort", "Stop the upgrade in progress; the old code keeps serving, or is restored"),
    with_help(
        "config",
        "Change settings of the running master (args: a YAML or JSON mapping such as \
         '{seconds: 2}')",
    ),
    with_help("dec", "Run one worker fewer (args: [--wait] to wait until it has stopped)"),
    with_help(
        "die",
        "Send SIGNAL (default: USR2) to all workers, start no more, and exit once all have \
         exited (args: [SIGNAL] [--wait] to wait until then)",
    ),
    Command { name: "ehlo", help: None },
    with_help("help", "List the commands"),
    with_help("inc", "Run one worker more (args: [--wait] to wait until it is up)"),
    with_help("louder", "Log more"),
    with_help(
        "metrics",
        "Print metrics of the master, workers and listeners, in OpenMetrics format",
    ),
    with_help("quieter", "Log less"),
    with_help(
        "reload",
        "Re-execute the master without replacing its workers (args: [--to-ruby] to hand back \
         to a Ruby Einhorn)",
    ),
    with_help(
        "set_workers",
        "Run N workers (args: N [--wait] to wait until exactly N are up and the others are gone)",
    ),
    with_help("signal", "Send one or more signals to all workers (args: SIGNAL...)"),
    with_help("state", "Print the master's state as YAML"),
    with_help("status", "Print the status of the master, workers and listeners (args: [--json])"),
    with_help(
        "upgrade",
        "Re-execute the master, then gradually replace its workers with new ones (args: \
         [--drained] to wait until the old workers are gone, or [--to-ruby] to hand back to a \
         Ruby Einhorn)",
    ),
    with_help(
        "upgrade_fleet",
        "Re-execute the master, then start a whole new set of workers and stop the old ones \
         once all new ones are up (args: [--drained] to wait until those are gone, or \
         [--to-ruby] to hand back to a Ruby Einhorn)",
    ),
    with_help(
        "wait",
        "Wait for the upgrade in progress, or report how the last one ended (args: [--drained] \
         to wait until the old workers are gone)",
    ),
    Command { name: "worker:ack", help: None },
    Command { name: "worker:ping", help: None },
];

const fn with_help(name: &'static str, help: &'static str) -> Command {
    Command { name, help: Some(help) }
}

/// The commands that have help, one per line.
pub fn command_list() -> String {
    let lines: Vec<String> = COMMANDS
        .iter()
        .filter_map(|command| Some(format!("{}: {}", command.name, command.help?)))
        .collect();
    lines.join("\n")
}
