//! The `einhorn` binary: parses the command line, then starts, adopts, checks or describes.
#![warn(clippy::print_stdout)]

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;

use einhorn::cli::{self, Options, Refusal, Task};
use einhorn::master::{self, Adoption, Launch, Master};
use einhorn::schema;
use einhorn::sys::descriptor;
use einhorn::sys::signal;

/// The allocator of musl maps and unmaps memory for single requests, and takes twice as long.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

/// Exit status for an invalid command line, as is conventional.
const EXIT_USAGE: u8 = 2;

/// Exit status for a state that can be neither adopted nor rolled back: `EX_CONFIG` of
/// sysexits(3), on which supervisors can be configured not to restart.
const EXIT_LOST: u8 = 78;

fn main() -> ExitCode {
    // Must come first: a signal before this could be lost or fatal.
    let mask = match signal::set_up() {
        Ok(mask) => mask,
        Err(error) => return fail(1, &format!("cannot set up signals: {error}")),
    };
    let launch = Launch {
        open_at_start: descriptor::open_numbers().unwrap_or_default(),
        own_name: std::env::args_os().next().unwrap_or_else(|| OsString::from("einhorn")),
        arguments: std::env::args_os().skip(1).collect(),
        environment: std::env::vars_os().collect(),
        // A deleted directory has no name; relative paths cannot work there anyway.
        directory: std::env::current_dir().unwrap_or_default(),
        mask,
    };
    let folder = cli::default_folder(std::env::var_os("TMPDIR"));
    match cli::parse(std::env::args_os(), &folder, &launch.directory) {
        Ok(Task::Start(options)) => start(*options, launch),
        Ok(Task::Adopt { state: state_fd, rolled_back, pinned, program }) => {
            adopt(&Adoption { state_fd, rolled_back, pinned, launch, program })
        }
        Ok(Task::Check { options, state }) => match master::check(&options, state, &launch) {
            Ok(text) => print(0, &text),
            Err(why) => fail(1, &format!("{why:#}")),
        },
        Ok(Task::Describe(file)) => describe(&file),
        Err(Refusal::HelpOrVersion(text)) => print(0, &text),
        Err(Refusal::NoProgram(text)) => print(1, &text),
        Err(Refusal::Invalid(message)) => fail(EXIT_USAGE, &message),
    }
}

fn start(options: Options, launch: Launch) -> ExitCode {
    match Master::start(options, launch) {
        Ok(master) => run(master),
        Err(error) => fail(1, &format!("{error:#}")),
    }
}

/// Takes over from the image that this process ran before, or rolls back to it.
fn adopt(adoption: &Adoption) -> ExitCode {
    let rollback_image = adoption.rollback_image();
    let why = match catch_unwind(AssertUnwindSafe(|| Master::prepare(adoption))) {
        Ok(Ok(prepared)) => return run(Master::adopt(adoption, rollback_image, prepared)),
        Ok(Err(why)) => format!("{why:#}"),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            format!("a bug: {}", text.unwrap_or("it panicked"))
        }
    };
    let failure = adoption.roll_back(rollback_image, &why);
    fail(EXIT_LOST, &format!("cannot adopt the state: {why}; {failure}"))
}

fn run(master: Master) -> ExitCode {
    ExitCode::from(u8::try_from(master.run()).unwrap_or(1))
}

fn describe(file: &Path) -> ExitCode {
    let text = read(file)
        .map_err(|error| error.to_string())
        .and_then(|bytes| schema::describe(&bytes).map_err(|error| error.to_string()));
    match text {
        Ok(text) => print(0, &text),
        Err(why) => fail(1, &format!("{}: {why}", file.display())),
    }
}

/// Reads a file, but no more bytes than a state can have.
fn read(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let bound = u64::try_from(schema::STATE_MAX).unwrap_or(u64::MAX).saturating_add(1);
    File::open(file)?.take(bound).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn print(code: u8, text: &str) -> ExitCode {
    // If standard output is closed, there is nowhere to report that.
    let _ = io::stdout().write_all(text.as_bytes());
    ExitCode::from(code)
}

fn fail(code: u8, message: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "einhorn: {message}");
    ExitCode::from(code)
}
