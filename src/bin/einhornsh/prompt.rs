//! The conversation on a terminal: prompt, history, completion.

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
use super::failure::{Failure, complain};
use super::shell::Shell;

/// Asks for lines and runs them until somebody leaves.
pub(crate) fn converse(shell: &mut Shell, mut client: Client, path: &Path) -> Result<(), Failure> {
    greet(shell, &mut client)?;
    shell.screen.print("Enter `help` for a list of commands, `quit` or `exit` to leave.")?;
    let mut prompt = Prompt::new()?;
    while let Some(line) = prompt.ask()? {
        let told = shell.commands(&line).and_then(|all| shell.run_all(&mut client, &all));
        shell.screen.leave();
        // A person has seen how it ended.
        shell.status = 0;
        match told {
            Ok(ControlFlow::Continue(())) => {}
            Ok(ControlFlow::Break(())) => break,
            Err(failure @ Failure::Client(ClientError::Lost(_) | ClientError::ReplyTooLong)) => {
                complain(&failure);
                client = Client::connect(path)?;
                greet(shell, &mut client)?;
                let told = "Reconnected. No command was sent a second time.";
                shell.screen.print(told)?;
            }
            Err(failure @ (Failure::Client(_) | Failure::Line(_))) => complain(&failure),
            Err(failure @ (Failure::Input(_) | Failure::Output(_))) => return Err(failure),
        }
    }
    shell.screen.print("Goodbye!")
}

/// Says who is there and prints the answer.
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
    /// Where the history is kept; without it, it ends with the shell.
    history: Option<PathBuf>,
}

impl Prompt {
    fn new() -> Result<Prompt, Failure> {
        let config = Config::builder().completion_type(CompletionType::List).build();
        let mut editor = Editor::with_config(config).map_err(terminal)?;
        editor.set_helper(Some(Completion));
        let history = history_file(std::env::var_os("XDG_STATE_HOME"), std::env::var_os("HOME"));
        let history = history.filter(|history| is_private(history));
        if let Some(history) = &history {
            // There may be none yet.
            let _ = editor.load_history(history);
        }
        Ok(Prompt { editor, history })
    }

    /// The next line; `None` when no more will come.
    fn ask(&mut self) -> Result<Option<String>, Failure> {
        loop {
            match self.editor.readline("> ") {
                Ok(line) => {
                    self.remember(&line);
                    return Ok(Some(line));
                }
                // Ctrl-C takes back what was typed.
                Err(ReadlineError::Interrupted | ReadlineError::Signal(_)) => {}
                Err(ReadlineError::Eof) => return Ok(None),
                Err(error) => return Err(terminal(error)),
            }
        }
    }

    /// Notes a line in the history. A history that cannot be written is no reason to complain.
    fn remember(&mut self, line: &str) {
        if self.editor.add_history_entry(line).unwrap_or(false)
            && let Some(history) = &self.history
        {
            let _ = self.editor.append_history(history);
        }
    }
}

/// The editor reads and writes; only a closed pipe can tell which of the two failed.
fn terminal(error: ReadlineError) -> Failure {
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

/// In the folder for the state of programs where somebody has one, else hidden in their home.
fn history_file(state_home: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    let folder =
        |variable: Option<OsString>| variable.map(PathBuf::from).filter(|p| p.is_absolute());
    let in_state_home = folder(state_home).map(|folder| folder.join("einhornsh_history"));
    in_state_home.or_else(|| folder(home).map(|folder| folder.join(".einhornsh_history")))
}

/// Whether nobody else can lead the history to another file, as the owner of a home could in which
/// root keeps one.
fn is_private(history: &Path) -> bool {
    let folder = Entry::at(history).ok().and_then(|entry| entry.open_folder());
    folder.is_some_and(|folder| trusted_path::is_ours_alone(folder).unwrap_or(false))
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

/// The word at the end of a line, which is still being typed.
fn last_word(line: &str) -> &str {
    line.rsplit([' ', '\t', '\n', ';']).next().unwrap_or_default()
}

/// What the last word of a line may become: a command that people use, a signal's name, or one of
/// the words that begin with `-`.
fn candidates(line: &str) -> Vec<String> {
    let command = separate(line).pop().unwrap_or_default();
    let word = last_word(line);
    let before: Vec<&str> = command[..command.len() - word.len()].split_whitespace().collect();
    match before.as_slice() {
        [] => commands(word),
        [command, ..] if word.starts_with('-') => long_words(command, word),
        ["signal", ..] | ["die"] => signals(word),
        _ => Vec::new(),
    }
}

fn commands(beginning: &str) -> Vec<String> {
    let of_the_master =
        COMMANDS.iter().filter(|command| command.help.is_some()).map(|command| command.name);
    let all = of_the_master.chain(["exit", "quit"]);
    all.filter(|name| name.starts_with(beginning)).map(str::to_owned).collect()
}

/// What a command may be given besides its arguments, to the master or to us.
fn long_words(command: &str, beginning: &str) -> Vec<String> {
    let own: &[&str] = match command {
        "reload" | "upgrade" | "upgrade_fleet" => &["--detach", "--to-ruby"],
        "dec" | "die" | "inc" | "set_workers" => &["--detach", "--wait"],
        "status" => &["--watch"],
        _ => &[],
    };
    let all = own.iter().chain(&["--json", "--timeout"]);
    all.filter(|word| word.starts_with(beginning)).map(|word| (*word).to_owned()).collect()
}

/// Signals by name, with `SIG` where that was typed.
fn signals(beginning: &str) -> Vec<String> {
    let beginning = beginning.to_ascii_uppercase();
    let sig = if beginning.starts_with("SIG") { "SIG" } else { "" };
    let all = Signal::ALL.iter().map(|signal| format!("{sig}{signal}"));
    all.filter(|name| name.starts_with(&beginning)).collect()
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
    fn signals_complete_where_they_are_wanted() {
        assert_eq!(candidates("signal us"), ["USR1", "USR2"]);
        assert_eq!(candidates("inc; signal HUP SIGUS"), ["SIGUSR1", "SIGUSR2"]);
        assert_eq!(candidates("die q"), ["QUIT"]);
        assert_eq!(candidates("signal ").len(), Signal::ALL.len());
        assert_eq!(candidates("die QUIT q"), [""; 0]);
    }

    #[test]
    fn long_words_complete_where_they_mean_something() {
        assert_eq!(candidates("upgrade --t"), ["--to-ruby", "--timeout"]);
        assert_eq!(candidates("inc; die QUIT -"), ["--detach", "--wait", "--json", "--timeout"]);
        assert_eq!(candidates("status --json --w"), ["--watch"]);
        assert_eq!(candidates("louder --w"), [""; 0]);
        assert_eq!(candidates("-"), [""; 0]);
    }

    #[test]
    fn whatever_was_typed_completion_survives() {
        for line in ["signal 'a;", "signal 'a; b", "a \\;", "'", "ü;ü ü", " ;; ", "# a;", "a\nb"]
        {
            candidates(line);
        }
    }

    #[test]
    fn the_history_lies_where_the_user_keeps_such_things() {
        let file =
            |state, home| history_file(Some(OsString::from(state)), Some(OsString::from(home)));
        assert_eq!(file("/state", "/home/a"), Some("/state/einhornsh_history".into()));
        assert_eq!(file("", "/home/a"), Some("/home/a/.einhornsh_history".into()));
        assert_eq!(file("", ""), None);
        assert_eq!(history_file(None, None), None);
    }
}
