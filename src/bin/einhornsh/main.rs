//! einhornsh: a shell for the command socket of a running einhorn.

mod command_line;
mod prompt;

use std::fmt;
use std::io::{self, BufRead, IsTerminal, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use einhorn::cli::{default_folder, default_path, spell_out};
use einhorn::client::{Client, ClientError};

use command_line::UnbalancedQuotes;

/// A command line or commands that cannot be understood; the usual status for it.
const EXIT_USAGE: u8 = 2;

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
}

impl Args {
    /// The command socket that is meant.
    fn socket(&self) -> PathBuf {
        let name = self.command_name.as_deref().or(self.name.as_deref());
        let folder = default_folder(std::env::var_os("TMPDIR"));
        self.socket_path.clone().unwrap_or_else(|| default_path(&folder, name, "sock"))
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
    match run(&Args::parse_from(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read our output has seen enough: `einhornsh -e state | head -1`.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(failure) => {
            complain(&failure);
            failure.exit_code()
        }
    }
}

fn run(args: &Args) -> Result<(), Failure> {
    let path = args.socket();
    let mut client = Client::connect(&path)?;
    if !args.execute.is_empty() {
        return run_lines(&mut client, args.execute.iter().cloned().map(Ok));
    }
    if io::stdin().is_terminal() {
        return prompt::converse(client, &path);
    }
    run_lines(&mut client, io::stdin().lock().lines())
}

/// Runs line after line, up to one that says to leave.
fn run_lines(
    client: &mut Client,
    lines: impl Iterator<Item = io::Result<String>>,
) -> Result<(), Failure> {
    for line in lines {
        if run_line(client, &line.map_err(Failure::Input)?)?.is_break() {
            break;
        }
    }
    Ok(())
}

/// Runs the commands of a line one after the other; breaks where one of them says to leave.
fn run_line(client: &mut Client, line: &str) -> Result<ControlFlow<()>, Failure> {
    for words in command_line::parse(line)? {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            [] => {}
            ["quit" | "exit", ..] => return Ok(ControlFlow::Break(())),
            [command, args @ ..] => {
                for reply in client.request(command, args)? {
                    print(&reply?.message)?;
                }
            }
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Prints a message at once: the lines of an upgrade arrive as it goes on.
fn print(message: &str) -> Result<(), Failure> {
    let end = if message.ends_with('\n') { "" } else { "\n" };
    let mut stdout = io::stdout().lock();
    write!(stdout, "{message}{end}").and_then(|()| stdout.flush()).map_err(Failure::Output)
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
    Line(UnbalancedQuotes),
    /// Standard input cannot be read.
    Input(io::Error),
    /// Standard output cannot be written.
    Output(io::Error),
}

impl Failure {
    fn exit_code(&self) -> ExitCode {
        match self {
            Failure::Client(_) | Failure::Output(_) => ExitCode::from(1),
            Failure::Line(_) | Failure::Input(_) => ExitCode::from(EXIT_USAGE),
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        Failure::Client(error)
    }
}

impl From<UnbalancedQuotes> for Failure {
    fn from(error: UnbalancedQuotes) -> Failure {
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
