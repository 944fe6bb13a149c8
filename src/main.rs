//! The master: parse, start, run; a result becomes an exit status.

use std::io::{self, Write};
use std::process::ExitCode;

use einhorn::cli::{self, Refusal};
use einhorn::master::{Master, Start};
use einhorn::sys::signal;

/// A command line that cannot be run; the usual status for it.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    // First of all: from here on no signal is lost and none is fatal.
    let mask = match signal::take_over() {
        Ok(mask) => mask,
        Err(error) => return fail(1, &format!("cannot set up signals: {error}")),
    };
    let folder = cli::default_folder(std::env::var_os("TMPDIR"));
    // A directory that was deleted has no name; relative paths cannot work there either way.
    let directory = std::env::current_dir().unwrap_or_default();
    match cli::parse(std::env::args_os(), &folder, &directory) {
        Ok(options) => run(Start { options, environment: std::env::vars_os().collect(), mask }),
        Err(Refusal::Asked(text)) => print(0, &text),
        Err(Refusal::NoProgram(text)) => print(1, &text),
        Err(Refusal::Invalid(message)) => fail(EXIT_USAGE, &message),
    }
}

fn run(start: Start) -> ExitCode {
    match Master::start(start) {
        Ok(master) => ExitCode::from(u8::try_from(master.run()).unwrap_or(1)),
        Err(error) => fail(1, &format!("{error:#}")),
    }
}

fn print(code: u8, text: &str) -> ExitCode {
    // Nobody to read it is nobody to tell.
    let _ = io::stdout().write_all(text.as_bytes());
    ExitCode::from(code)
}

fn fail(code: u8, message: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "einhorn: {message}");
    ExitCode::from(code)
}
