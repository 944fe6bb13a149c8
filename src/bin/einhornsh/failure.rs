//! Why not everything was done, and the exit status that says so.

use std::fmt;
use std::io::{self, Write as _};

use einhorn::client::ClientError;
use einhorn::outcome::Outcome;

use super::command_line::BadLine;

/// A command line or commands that cannot be understood; the usual status for it.
pub(crate) const EXIT_USAGE: u8 = 2;

/// No master could be reached, or it was lost.
const EXIT_LOST: u8 = 1;

/// The outcome of a command whose end came too late for `--timeout`.
pub(crate) const NOT_WAITED: &str = "not_waited";

/// Why not everything was done.
#[derive(Debug)]
pub(crate) enum Failure {
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
    pub(crate) fn exit_status(&self) -> u8 {
        match self {
            Failure::Client(ClientError::TimedOut) => Outcome::TimedOut.exit_status(),
            Failure::Client(_) | Failure::Output(_) => EXIT_LOST,
            Failure::Line(_) | Failure::Input(_) => EXIT_USAGE,
        }
    }

    /// The same in a word of an event; nobody could be told of output that cannot be written.
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
            Failure::Line(error) => error.fmt(out),
            Failure::Input(error) => write!(out, "cannot read standard input: {error}"),
            Failure::Output(error) => write!(out, "cannot write to standard output: {error}"),
        }
    }
}

/// Says on standard error what went wrong; if nobody reads that, nobody is told.
pub(crate) fn complain(what: &dyn fmt::Display) {
    let _ = writeln!(io::stderr(), "einhornsh: {what}");
}
