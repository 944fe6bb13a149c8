//! Parses lines into commands and runs them one after the other.

use std::ops::ControlFlow;

use einhorn::client::Client;

use super::failure::{Failure, print_error};
use super::options::Command;
use super::shell::Shell;
use super::{command_line, replies, status};

impl Shell {
    /// Parses the commands of a line.
    pub(crate) fn commands(&mut self, line: &str) -> Result<Vec<Command>, Failure> {
        let words = command_line::parse(line)?.into_iter();
        let commands = words.map(|words| self.options.split_from(words));
        let commands = commands.collect::<Result<Vec<_>, _>>()?;
        self.is_json_wanted |= commands.iter().any(|command| command.options.json);
        Ok(commands)
    }

    /// Runs commands one after the other; breaks at `quit` or `exit`.
    pub(crate) fn run_all(
        &mut self,
        client: &mut Client,
        commands: &[Command],
    ) -> Result<ControlFlow<()>, Failure> {
        for command in commands {
            let status = match command.words.first().map(String::as_str) {
                None => 0,
                Some("quit" | "exit") => return Ok(ControlFlow::Break(())),
                Some("status") => status::show(self, client, command)?,
                Some(_) => replies::run(self, client, command)?,
            };
            self.record(status);
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Reports an error: on standard error, and as an event if JSON was asked for.
    pub(crate) fn fail(&mut self, failure: &Failure) {
        self.record(failure.exit_status());
        self.screen.keep_live_line();
        if let Some(outcome) = failure.outcome().filter(|_| self.is_json_wanted) {
            let message = failure.to_string();
            // If this fails, standard error still has the message.
            let _ =
                self.screen.print(&replies::end_event(outcome, failure.exit_status(), &message));
        }
        print_error(failure);
    }
}
