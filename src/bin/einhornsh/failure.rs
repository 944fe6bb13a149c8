//! Errors of einhornsh itself, and their exit statuses.

use std::fmt;
use std::io::{self, Write as _};

use einhorn::client::ClientError;
use einhorn::outcome::Outcome;

use super::command_line::BadLine;

/// Exit status for an invalid command line or command, as is conventional.
pub(crate) const EXIT_USAGE: u8 = 2;

/// Exit status if the master cannot be reached or the connection is lost.
const EXIT_LOST: u8 = 1;

/// The outcome of a command that did not finish within `--timeout`.
pub(crate) const NOT_WAITED: &str = "not_waited";

/// An error that ends a line of commands.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The master cannot be reached, or did not answer.
    Client(ClientError),
    /// A line that cannot be parsed; none of its commands were sent.
    Line(BadLine),
    /// Standard input cannot be read.
    Input(io::Error),
    /// Standard output cannot be written.
    Output(io::Error),
}

impl Failure {
    pub(crate) fn exit_status(&self) -> u8 {
        match self {
            Failure::Client(ClientError::TimedOut) => Outcome::TimedOut.exit_status(),
            Failure::Client(_) | Failure::Output(_) => EXIT_LOST,
            Failure::Line(_) | Failure::Input(_) => EXIT_USAGE,
        }
    }

    /// The outcome in an event; none if standard output, which would show it, has failed.
    pub(crate) fn outcome(&self) -> Option<&'static str> {
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
                "{error}\nHint: give einhornsh the same -c NAME or -d PATH that einhorn was \
                 started with."
            ),
            Failure::Client(error) => error.fmt(out),
            Failure::Line(BadLine(why)) => out.write_str(why),
            Failure::Input(error) => write!(out, "cannot read standard input: {error}"),
            Failure::Output(error) => write!(out, "cannot write to standard output: {error}"),
        }
    }
}

/// Prints an error on standard error; if that fails, there is nowhere to report it.
pub(crate) fn print_error(what: &dyn fmt::Display) {
    let _ = writeln!(io::stderr(), "einhornsh: {what}");
}
