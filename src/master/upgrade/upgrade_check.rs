//! `--upgrade-check`: whether this program can take over; run by hand, in CI, or as the candidate
//! of a running master. Nothing is bound, written or started.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Write};
use std::os::fd::RawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Error, Result, anyhow, bail};

use crate::cli::Options;
use crate::master::descriptors::{skipped_section_note, verify_descriptors};
use crate::master::environment::variable;
use crate::master::launch::Launch;
use crate::master::program::find_program;
use crate::master::ruby::takeover::{self, Peek};
use crate::master::upgrade::pin;
use crate::master::workers::deployment;
use crate::preflight::write_report;
use crate::ruby::{Original, Takeover};
use crate::schema::{self, Decoded, Handover};
use crate::state::{CandidateReport, STATE_FORMAT, State, UpgradeKind, release};
use crate::sys::{children, descriptor, limit, process, user};

/// Standard input, output and error.
const DESCRIPTORS_STANDARD: u64 = 3;

/// How many descriptors a master needs besides the carried ones: for its loop, its signals and its
/// own image, for a preflight, and for some clients and workers being started.
const DESCRIPTORS_LEFT_MIN: u64 = 24;

/// Checks a command line, and a state if there is one. Returns the text to print.
///
/// # Errors
/// What is wrong.
pub fn check(options: &Options, state_fd: Option<RawFd>, launch: &Launch) -> Result<String> {
    let mut lines = vec![format!("einhorn {}", release()), format!("state format: {STATE_FORMAT}")];
    if let Some(number) = state_fd {
        lines.push(check_state(number, launch)?);
        return Ok(lines.join("\n") + "\n");
    }
    let path = variable(&launch.environment, "PATH");
    let config = &options.config;
    let deployment = deployment::resolve(config)?;
    let directory = deployment.as_ref().and_then(|deployment| deployment.directory.as_deref());
    if let Some(name) = config.command.first() {
        lines.push(format!("program: {}", find_executable("program", name, path, directory)?));
    }
    if let Some(name) = config.reexec_as.first() {
        let found = find_executable("--reexec-as", name, path, directory)?;
        lines.push(format!("re-exec command: {found}"));
    }
    match takeover::peek(&launch.open_at_start) {
        Peek::NoRubyMaster => {}
        Peek::State(bytes, number) => lines.push(check_original(&bytes, launch, number)?),
        Peek::WriterGone => {
            bail!(
                "the Ruby master's state: the pipe for it is empty, and the process that \
                        was to write it has ended; its last output is in the Ruby master's log"
            );
        }
        Peek::Unreadable(why) => {
            lines.push(format!("state: of a Ruby Einhorn, and could not be looked at: {why}"));
        }
    }
    Ok(lines.join("\n") + "\n")
}

/// Checks whether the state of a Ruby master could be taken over.
fn check_original(bytes: &[u8], launch: &Launch, number: RawFd) -> Result<String> {
    let Takeover { handover, notes } = takeover::check(bytes, launch, number)?;
    let count = handover.state.workers.len();
    let lines = [format!("state: of a Ruby Einhorn, {count} workers")];
    Ok(lines.into_iter().chain(notes).collect::<Vec<_>>().join("\n"))
}

/// Decodes a state. If a master runs this check, also verifies the descriptors and the process, and
/// reports the result to that master.
fn check_state(number: RawFd, launch: &Launch) -> Result<String> {
    let bytes = takeover::read_state(number)?;
    if Original::is_ruby_state(&bytes) {
        return check_original(&bytes, launch, number);
    }
    let header = schema::read_header(&bytes)?;
    // A state saved to a file and checked by hand still names the report's pipe.
    let report = header.report.filter(|number| descriptor::is_pipe(*number));
    let decoded = schema::decode(&bytes).map_err(Error::from);
    let adopted = decoded.and_then(|Decoded { handover, skipped: unknown }| {
        if report.is_some() {
            verify_descriptors(&handover)?;
            verify_reaping()?;
            verify_user(handover.state.master_pid.0)?;
            verify_program(&handover.state)?;
            verify_limit(&handover)?;
            pin::send_pin(launch, number, &handover).context("cannot tell how it was executed")?;
        }
        let count = handover.state.workers.len();
        let lines = [format!("state: format {}, {count} workers", header.format)];
        let unknown = unknown.iter().map(|name| skipped_section_note(name));
        Ok(lines.into_iter().chain(unknown).collect::<Vec<_>>().join("\n"))
    });
    if let Some(report) = report {
        send_report(report, adopted.is_ok()).context("cannot report")?;
    }
    adopted
}

/// A master that cannot reap its children would never replace any.
fn verify_reaping() -> Result<()> {
    children::verify().context("cannot ask what has happened to children (waitid and wait4)")
}

/// A master that runs as another user could not signal its workers.
fn verify_user(master_pid: i32) -> Result<()> {
    let own = user::effective_id();
    match fs::metadata(format!("/proc/{master_pid}")).map(|master| master.uid()) {
        Ok(uid) if uid != own => {
            Err(anyhow!("this runs as user {own}, and the master as user {uid}"))
        }
        // Without /proc this cannot be checked.
        _ => Ok(()),
    }
}

/// A missing program would fail every new worker.
fn verify_program(state: &State) -> Result<()> {
    if state.reexec.is_none_or(|reexec| reexec.kind == UpgradeKind::Reload) {
        return Ok(());
    }
    let directory = state.next_deployment.as_ref().and_then(|next| next.directory.as_deref());
    let directory = directory.unwrap_or(Path::new(""));
    deployment::verify_executable(&directory.join(&state.config.command[0]))
}

/// A master out of descriptors could accept no client, and not even be upgraded again.
fn verify_limit(handover: &Handover) -> Result<()> {
    let Ok(limit::Limit { hard, .. }) = limit::open_files() else { return Ok(()) };
    let is_below = |number: i32| u64::try_from(number).is_ok_and(|number| number < hard);
    let carried = handover.descriptors.iter().filter(|carried| is_below(carried.number)).count();
    let needed = DESCRIPTORS_STANDARD + carried as u64 + DESCRIPTORS_LEFT_MIN;
    match hard < needed {
        true => {
            Err(anyhow!("the limit of open files is {hard} here, and the master needs {needed}"))
        }
        false => Ok(()),
    }
}

fn send_report(number: RawFd, has_adopted: bool) -> io::Result<()> {
    let report = CandidateReport {
        pid: process::own_pid(),
        release: release().to_owned(),
        format: STATE_FORMAT,
        has_adopted,
    };
    let mut pipe = fs::File::from(descriptor::claim(number));
    pipe.write_all(write_report(&report).as_bytes())
}

/// Finds a program, verifies that it can be executed, and returns its path.
fn find_executable(
    what: &'static str,
    name: &OsString,
    path: Option<&OsStr>,
    directory: Option<&Path>,
) -> Result<String> {
    let found = find_program(name, path).context(what)?;
    let found = directory.unwrap_or(Path::new("")).join(found);
    deployment::verify_executable(&found).context(what)?;
    Ok(found.display().to_string())
}
