//! einhornsh: a shell for the command socket of a running einhorn.
#![warn(clippy::print_stdout)]

mod command_line;
mod failure;
mod options;
mod prompt;
mod replies;
mod run;
mod screen;
mod shell;
mod status;

use std::io::{self, BufRead, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use einhorn::cli::{default_folder, default_path, expand_abbreviations};
use einhorn::client::Client;

use failure::{EXIT_USAGE, Failure, print_error};
use options::Options;
use screen::Screen;
use shell::Shell;

/// Control a running einhorn: with commands typed at a prompt, given by -e, or read from standard
/// input.
#[derive(Debug, Parser)]
#[command(name = "einhornsh", version, args_override_self = true)]
#[command(
    after_help = "A line may hold several commands, separated by `;`. Arguments are split as \
                        shell words. The command `help` lists the commands."
)]
struct Args {
    /// Connect to the master of this name (`einhorn -c`)
    #[arg(value_name = "NAME", conflicts_with = "command_name")]
    name: Option<String>,
    /// Same as the argument NAME
    #[arg(short, long, value_name = "NAME")]
    command_name: Option<String>,
    /// Connect to the command socket PATH (`einhorn -d`) [default: einhorn.sock, or
    /// einhorn-NAME.sock with a name, in $TMPDIR or /tmp]
    #[arg(short = 'd', long, value_name = "PATH")]
    socket_path: Option<PathBuf>,
    /// Run these commands and exit (repeatable)
    #[arg(short, long, value_name = "COMMANDS")]
    execute: Vec<String>,
    #[command(flatten)]
    options: Options,
}

impl Args {
    /// The path of the command socket.
    fn socket(&self) -> PathBuf {
        let name = self.command_name.as_deref().or(self.name.as_deref());
        let folder = default_folder(std::env::var_os("TMPDIR"));
        self.socket_path.clone().unwrap_or_else(|| default_path(&folder, name, "sock"))
    }

    /// The options that select the same master, for users to copy.
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
    let arguments = match expand_abbreviations(&command, std::env::args_os()) {
        Ok(arguments) => arguments,
        Err(why) => {
            print_error(&why);
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

impl Shell {
    fn run(&mut self, args: &Args) -> Result<(), Failure> {
        // Parse everything before connecting: if anything is invalid, nothing is sent.
        let lines = args.execute.iter().map(|line| self.commands(line));
        let lines = lines.collect::<Result<Vec<_>, _>>()?;
        let path = args.socket();
        let mut client = Client::connect(&path)?;
        if !lines.is_empty() {
            return self.run_all(&mut client, &lines.concat()).map(drop);
        }
        if io::stdin().is_terminal() {
            return prompt::interact(self, client, &path);
        }
        for line in io::stdin().lock().lines() {
            let commands = self.commands(&line.map_err(Failure::Input)?)?;
            if self.run_all(&mut client, &commands)?.is_break() {
                break;
            }
        }
        Ok(())
    }
}
