//! The interactive prompt: line editing, history, completion.

use std::ffi::OsString;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use einhorn::client::{Client, ClientError};
use einhorn::protocol::COMMANDS;
use einhorn::state::Signal;
use einhorn::sys::trusted_path::{self, Entry};
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::Validator;
use rustyline::{CompletionType, Config, Context, Editor, Helper};

use super::command_line::separate;
use super::failure::{Failure, print_error};
use super::shell::Shell;

/// Reads lines from the terminal and runs them, until the user quits.
pub(crate) fn interact(shell: &mut Shell, mut client: Client, path: &Path) -> Result<(), Failure> {
    greet(shell, &mut client)?;
    shell.screen.print("Enter `help` for a list of commands, `quit` or `exit` to leave.")?;
    let mut prompt = Prompt::new()?;
    while let Some(line) = prompt.read_line()? {
        let result = shell.commands(&line).and_then(|all| shell.run_all(&mut client, &all));
        shell.screen.keep_live_line();
        // The user has seen the outcome; the prompt exits with 0.
        shell.status = 0;
        match result {
            Ok(ControlFlow::Continue(())) => {}
            Ok(ControlFlow::Break(())) => break,
            Err(failure @ Failure::Client(ClientError::Lost(_) | ClientError::ReplyTooLong)) => {
                print_error(&failure);
                client = Client::connect(path)?;
                greet(shell, &mut client)?;
                shell.screen.print("Reconnected. No command was sent a second time.")?;
            }
            Err(failure @ (Failure::Client(_) | Failure::Line(_))) => print_error(&failure),
            Err(failure @ (Failure::Input(_) | Failure::Output(_))) => return Err(failure),
        }
    }
    shell.screen.print("Goodbye!")
}

/// Sends `ehlo` and prints the greeting.
fn greet(shell: &mut Shell, client: &mut Client) -> Result<(), Failure> {
    let name = |variable| std::env::var(variable).ok().filter(|name| !name.is_empty());
    let user = name("USER").or_else(|| name("LOGNAME")).unwrap_or_else(|| "you".to_owned());
    for reply in client.greet(&user)? {
        shell.screen.print(&reply?.message)?;
    }
    Ok(())
}

/// The line editor with its history.
struct Prompt {
    editor: Editor<Completion, DefaultHistory>,
    /// The history file; without one, the history ends with the shell.
    history: Option<PathBuf>,
}

impl Prompt {
    fn new() -> Result<Prompt, Failure> {
        let config = Config::builder().completion_type(CompletionType::List).build();
        let mut editor = Editor::with_config(config).map_err(terminal_failure)?;
        editor.set_helper(Some(Completion));
        let history = history_file(std::env::var_os("XDG_STATE_HOME"), std::env::var_os("HOME"));
        let history = history.filter(|history| is_private(history));
        if let Some(history) = &history {
            // It may not exist yet.
            let _ = editor.load_history(history);
        }
        Ok(Prompt { editor, history })
    }

    /// Reads the next line; `None` at end of input.
    fn read_line(&mut self) -> Result<Option<String>, Failure> {
        loop {
            match self.editor.readline("> ") {
                Ok(line) => {
                    self.add_to_history(&line);
                    return Ok(Some(line));
                }
                // Ctrl-C discards the line.
                Err(ReadlineError::Interrupted | ReadlineError::Signal(_)) => {}
                Err(ReadlineError::Eof) => return Ok(None),
                Err(error) => return Err(terminal_failure(error)),
            }
        }
    }

    /// Adds a line to the history, ignoring a history file that cannot be written.
    fn add_to_history(&mut self, line: &str) {
        if self.editor.add_history_entry(line).unwrap_or(false)
            && let Some(history) = &self.history
        {
            let _ = self.editor.append_history(history);
        }
    }
}

/// Converts an error of the editor, which reads and writes: a closed pipe is the only sign that
/// writing failed.
fn terminal_failure(error: ReadlineError) -> Failure {
    let error = match error {
        ReadlineError::Io(error) => error,
        ReadlineError::Errno(error) => error.into(),
        other => io::Error::other(other),
    };
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::Output(error),
        _ => Failure::Input(error),
    }
}

/// The history file: in `$XDG_STATE_HOME` if it is set, else hidden in the home directory.
fn history_file(state_home: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    let folder =
        |variable: Option<OsString>| variable.map(PathBuf::from).filter(|p| p.is_absolute());
    let in_state_home = folder(state_home).map(|folder| folder.join("einhornsh_history"));
    in_state_home.or_else(|| folder(home).map(|folder| folder.join(".einhornsh_history")))
}

/// Whether no other user can replace the history file by a link, as the owner of a home directory
/// could if root keeps its history there.
fn is_private(history: &Path) -> bool {
    let folder = Entry::at(history).ok().and_then(|entry| entry.open_folder());
    folder.is_some_and(|folder| trusted_path::is_writable_only_by_us(folder).unwrap_or(false))
}

/// Completes the words of a line.
struct Completion;

impl Completer for Completion {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        cursor: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let word = last_word(&line[..cursor]);
        Ok((cursor - word.len(), candidates(&line[..cursor])))
    }
}

impl Hinter for Completion {
    type Hint = String;
}

impl Highlighter for Completion {}

impl Validator for Completion {}

impl Helper for Completion {}

/// The word at the end of a line, which the user is typing.
fn last_word(line: &str) -> &str {
    line.rsplit([' ', '\t', '\n', ';']).next().unwrap_or_default()
}

/// Completions of the last word of a line: commands, signals, or options.
fn candidates(line: &str) -> Vec<String> {
    let command = separate(line).pop().unwrap_or_default();
    let word = last_word(line);
    let before: Vec<&str> = command[..command.len() - word.len()].split_whitespace().collect();
    match before.as_slice() {
        [] => commands(word),
        [command, ..] if word.starts_with('-') => options(command, word),
        ["signal", ..] | ["die"] => signals(word),
        _ => Vec::new(),
    }
}

fn commands(prefix: &str) -> Vec<String> {
    let of_the_master =
        COMMANDS.iter().filter(|command| command.help.is_some()).map(|command| command.name);
    let all = of_the_master.chain(["exit", "quit"]);
    all.filter(|name| name.starts_with(prefix)).map(str::to_owned).collect()
}

/// Options of a command, both those for the master and those for einhornsh.
fn options(command: &str, prefix: &str) -> Vec<String> {
    let own: &[&str] = match command {
        "reload" => &["--detach", "--to-ruby"],
        "upgrade" | "upgrade_fleet" => &["--detach", "--drained", "--to-ruby"],
        "wait" => &["--detach", "--drained"],
        "dec" | "die" | "inc" | "set_workers" => &["--detach", "--wait"],
        "status" => &["--strict", "--watch"],
        _ => &[],
    };
    let all = own.iter().chain(&["--json", "--timeout"]);
    all.filter(|word| word.starts_with(prefix)).map(|word| (*word).to_owned()).collect()
}

/// Names of signals, with `SIG` if the user typed that.
fn signals(prefix: &str) -> Vec<String> {
    let prefix = prefix.to_ascii_uppercase();
    let sig = if prefix.starts_with("SIG") { "SIG" } else { "" };
    let all = Signal::ALL.iter().map(|signal| format!("{sig}{signal}"));
    all.filter(|name| name.starts_with(&prefix)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_complete_at_the_start_of_each() {
        assert_eq!(candidates("up"), ["upgrade", "upgrade_fleet"]);
        assert_eq!(candidates("inc; qu"), ["quieter", "quit"]);
        assert_eq!(candidates("inc;e"), ["exit"]);
        assert!(candidates("").contains(&"state".to_owned()));
        assert_eq!(candidates("worker"), [""; 0]);
        assert_eq!(candidates("inc up"), [""; 0]);
    }

    #[test]
    fn signals_complete_after_signal_and_die() {
        assert_eq!(candidates("signal us"), ["USR1", "USR2"]);
        assert_eq!(candidates("inc; signal HUP SIGUS"), ["SIGUSR1", "SIGUSR2"]);
        assert_eq!(candidates("die q"), ["QUIT"]);
        assert_eq!(candidates("signal ").len(), Signal::ALL.len());
        assert_eq!(candidates("die QUIT q"), [""; 0]);
    }

    #[test]
    fn options_complete_after_their_commands() {
        assert_eq!(candidates("upgrade --t"), ["--to-ruby", "--timeout"]);
        assert_eq!(candidates("inc; die QUIT -"), ["--detach", "--wait", "--json", "--timeout"]);
        assert_eq!(candidates("status --json --w"), ["--watch"]);
        assert_eq!(candidates("louder --w"), [""; 0]);
        assert_eq!(candidates("-"), [""; 0]);
    }

    #[test]
    fn completion_accepts_any_line() {
        for line in ["signal 'a;", "signal 'a; b", "a \\;", "'", "ü;ü ü", " ;; ", "# a;", "a\nb"]
        {
            candidates(line);
        }
    }

    #[test]
    fn the_history_file_is_in_the_state_folder_or_home() {
        let file =
            |state, home| history_file(Some(OsString::from(state)), Some(OsString::from(home)));
        assert_eq!(file("/state", "/home/a"), Some("/state/einhornsh_history".into()));
        assert_eq!(file("", "/home/a"), Some("/home/a/.einhornsh_history".into()));
        assert_eq!(file("", ""), None);
        assert_eq!(history_file(None, None), None);
    }
}
