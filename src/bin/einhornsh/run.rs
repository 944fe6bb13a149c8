//! Lines become commands, and commands are run one after the other.

use std::ops::ControlFlow;

use einhorn::client::Client;

use super::failure::{Failure, complain};
use super::options::Command;
use super::shell::Shell;
use super::{command_line, replies, status};

impl Shell {
    /// The commands of a line.
    pub(crate) fn commands(&mut self, line: &str) -> Result<Vec<Command>, Failure> {
        let words = command_line::parse(line)?.into_iter();
        let commands = words.map(|words| self.options.taken_from(words));
        let commands = commands.collect::<Result<Vec<_>, _>>()?;
        self.is_json_wanted |= commands.iter().any(|command| command.options.json);
        Ok(commands)
    }

    /// Runs commands one after the other; breaks where one of them says to leave.
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
                Some(_) => replies::tell(self, client, command)?,
            };
            self.note(status);
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Says why not everything was done.
    pub(crate) fn fail(&mut self, failure: &Failure) {
        self.note(failure.exit_status());
        self.screen.leave();
        if let Some(outcome) = failure.outcome().filter(|_| self.is_json_wanted) {
            let message = failure.to_string();
            // Standard error is told as well.
            let _ = self.screen.print(&replies::own_end(outcome, failure.exit_status(), &message));
        }
        complain(failure);
    }
}
