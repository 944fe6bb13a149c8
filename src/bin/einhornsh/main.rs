//! einhornsh: a shell for the command socket of a running einhorn.

mod command_line;
mod options;
mod prompt;
mod screen;
mod status;
mod telling;

use std::fmt;
use std::io::{self, BufRead, IsTerminal, Write as _};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use einhorn::cli::{default_folder, default_path, spell_out};
use einhorn::client::{Client, ClientError};
use einhorn::outcome::Outcome;

use command_line::BadLine;
use options::{Command, Options};
use screen::Screen;
use telling::NOT_WAITED;

/// A command line or commands that cannot be understood; the usual status for it.
const EXIT_USAGE: u8 = 2;

/// No master could be reached, or it was lost.
const EXIT_LOST: u8 = 1;

/// Talk to a running einhorn: a prompt on a terminal, else commands from standard input.
#[derive(Debug, Parser)]
#[command(name = "einhornsh", version, args_override_self = true)]
#[command(after_help = "Commands of a line are separated by `;`, their arguments are split as \
                        shell words. `help` lists the commands.")]
struct Args {
    /// The name of the master, as given to `einhorn -c`
    #[arg(value_name = "NAME", conflicts_with = "command_name")]
    name: Option<String>,
    /// The same
    #[arg(short, long, value_name = "NAME")]
    command_name: Option<String>,
    /// The command socket, as given to `einhorn -d`
    /// [default: einhorn.sock or einhorn-NAME.sock in $TMPDIR or /tmp]
    #[arg(short = 'd', long, value_name = "PATH")]
    socket_path: Option<PathBuf>,
    /// Run these commands and exit; may be repeated
    #[arg(short, long, value_name = "COMMANDS")]
    execute: Vec<String>,
    #[command(flatten)]
    options: Options,
}

impl Args {
    /// The command socket that is meant.
    fn socket(&self) -> PathBuf {
        let name = self.command_name.as_deref().or(self.name.as_deref());
        let folder = default_folder(std::env::var_os("TMPDIR"));
        self.socket_path.clone().unwrap_or_else(|| default_path(&folder, name, "sock"))
    }

    /// The options that lead to it again, for a person to copy.
    fn address(&self) -> String {
        let path = self.socket_path.as_ref().map(|path| ("-d", path.to_string_lossy()));
        let name = self.command_name.as_deref().or(self.name.as_deref());
        let given = path.or_else(|| name.map(|name| ("-c", name.into())));
        given.map_or_else(String::new, |(option, value)| {
            format!(" {option} {}", shell_words::quote(&value))
        })
    }
}

fn main() -> ExitCode {
    let mut command = Args::command();
    // Adds --help and --version, which may be abbreviated too.
    command.build();
    let arguments = match spell_out(&command, &[], std::env::args_os()) {
        Ok(arguments) => arguments,
        Err(why) => {
            complain(&why);
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let args = Args::parse_from(arguments);
    let mut shell = Shell {
        screen: Screen::new(),
        options: args.options.clone(),
        address: args.address(),
        is_json_wanted: args.options.json,
        status: 0,
    };
    if let Err(failure) = shell.run(&args) {
        shell.fail(&failure);
    }
    ExitCode::from(shell.status)
}

/// What is the same for all commands.
struct Shell {
    screen: Screen,
    options: Options,
    /// The options that lead to the same master again.
    address: String,
    /// Whether somebody who reads JSON wants to know of failures too.
    is_json_wanted: bool,
    /// The exit status: the first one of the commands that is not 0.
    status: u8,
}

impl Shell {
    fn run(&mut self, args: &Args) -> Result<(), Failure> {
        // Before anybody is spoken to: where something is not understood, nothing is sent.
        let lines = args.execute.iter().map(|line| self.commands(line));
        let lines = lines.collect::<Result<Vec<_>, _>>()?;
        let path = args.socket();
        let mut client = Client::connect(&path)?;
        if !lines.is_empty() {
            return self.run_all(&mut client, &lines.concat()).map(drop);
        }
        if io::stdin().is_terminal() {
            return prompt::converse(self, client, &path);
        }
        for line in io::stdin().lock().lines() {
            let commands = self.commands(&line.map_err(Failure::Input)?)?;
            if self.run_all(&mut client, &commands)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// The commands of a line.
    fn commands(&mut self, line: &str) -> Result<Vec<Command>, Failure> {
        let words = command_line::parse(line)?.into_iter();
        let commands = words.map(|words| self.options.taken_from(words));
        let commands = commands.collect::<Result<Vec<_>, _>>()?;
        self.is_json_wanted |= commands.iter().any(|command| command.options.json);
        Ok(commands)
    }

    /// Runs commands one after the other; breaks where one of them says to leave.
    fn run_all(
        &mut self,
        client: &mut Client,
        commands: &[Command],
    ) -> Result<ControlFlow<()>, Failure> {
        for command in commands {
            let status = match command.words.first().map(String::as_str) {
                None => 0,
                Some("quit" | "exit") => return Ok(ControlFlow::Break(())),
                Some("status") => status::show(self, client, command)?,
                Some(_) => telling::tell(self, client, command)?,
            };
            self.note(status);
        }
        Ok(ControlFlow::Continue(()))
    }

    fn note(&mut self, status: u8) {
        if self.status == 0 {
            self.status = status;
        }
    }

    /// Says why not everything was done.
    fn fail(&mut self, failure: &Failure) {
        self.note(failure.exit_status());
        self.screen.leave();
        if let Some(outcome) = failure.outcome().filter(|_| self.is_json_wanted) {
            let message = failure.to_string();
            // Standard error is told as well.
            let _ = self.screen.print(&telling::own_end(outcome, failure.exit_status(), &message));
        }
        complain(failure);
    }
}

/// Says on standard error what went wrong; if nobody reads that, nobody is told.
fn complain(what: &dyn fmt::Display) {
    let _ = writeln!(io::stderr(), "einhornsh: {what}");
}

/// Why not everything was done.
#[derive(Debug)]
enum Failure {
    /// The master cannot be reached, or did not answer.
    Client(ClientError),
    /// A line that is no sequence of commands; nothing of it was sent.
    Line(BadLine),
    /// Standard input cannot be read.
    Input(io::Error),
    /// Standard output cannot be written.
    Output(io::Error),
}

impl Failure {
    fn exit_status(&self) -> u8 {
        match self {
            Failure::Client(ClientError::TimedOut) => Outcome::TimedOut.exit_status(),
            Failure::Client(_) | Failure::Output(_) => EXIT_LOST,
            Failure::Line(_) | Failure::Input(_) => EXIT_USAGE,
        }
    }

    /// The same in a word of an event; nobody could be told of output that cannot be written.
    fn outcome(&self) -> Option<&'static str> {
        match self {
            Failure::Client(ClientError::Connect { .. }) => Some("unreachable"),
            Failure::Client(ClientError::TimedOut) => Some(NOT_WAITED),
            Failure::Client(_) => Some("lost"),
            Failure::Line(_) | Failure::Input(_) => Some(Outcome::NotUnderstood.name()),
            Failure::Output(_) => None,
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        Failure::Client(error)
    }
}

impl From<BadLine> for Failure {
    fn from(error: BadLine) -> Failure {
        Failure::Line(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Client(error @ ClientError::Connect { .. }) => write!(
                out,
                "{error}\nHint: give the master's name with -c NAME, or its command socket with \
                 -d PATH, as einhorn was given them."
            ),
            Failure::Client(error) => error.fmt(out),
            Failure::Line(error) => error.fmt(out),
            Failure::Input(error) => write!(out, "cannot read standard input: {error}"),
            Failure::Output(error) => write!(out, "cannot write to standard output: {error}"),
        }
    }
}
