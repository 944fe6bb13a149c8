//! `--reexec-mode=pinned`: the candidate reports how it was executed and passes its executable and
//! directory, and the master execs exactly that (docs/handover.md). All sides are here.

use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};

use crate::cli::split_at_state_fd;
use crate::master::descriptors::identity;
use crate::master::launch::Launch;
use crate::master::upgrade::image::fingerprint;
use crate::preflight::{
    ChangedLimit, PIN_MAX, PIN_MESSAGE_MAX, PIN_TITLE, Pin, PinnedFrom, PinnedLimit, difference,
    parse_pin, write_pin,
};
use crate::schema::Handover;
use crate::sys::exec::{Exec, exec};
use crate::sys::limit::Limit;
use crate::sys::spawn::Program;
use crate::sys::{descriptor, memfd, process, process_attributes, scm_rights};

/// The names of descriptors 0 to 2.
const STANDARD: [&str; 3] = ["standard input", "standard output", "standard error"];

// ---- the candidate ----

/// Sends the master how this candidate was executed, if the master asks for it: it then holds the
/// other end of a socket pair that is not listed in the state.
pub(super) fn send_pin(launch: &Launch, state_fd: RawFd, handover: &Handover) -> io::Result<()> {
    let is_listed = |number: &RawFd| handover.numbers().any(|listed| listed == *number);
    let master = handover.state.master_pid.0;
    let is_asked =
        |number: &RawFd| !is_listed(number) && scm_rights::is_end_created_by(*number, master);
    let Some(end) = launch.open_at_start.iter().copied().find(is_asked) else { return Ok(()) };
    match own_pin(launch, state_fd) {
        Ok([pin, executable, directory]) => {
            let passed = [pin.as_raw_fd(), executable.as_raw_fd(), directory.as_raw_fd()];
            scm_rights::send(end, PIN_TITLE.as_bytes(), &passed)
        }
        Err(why) => {
            let mut message = format!("{PIN_TITLE}\n{why:#}").into_bytes();
            message.truncate(PIN_MESSAGE_MAX);
            scm_rights::send(end, &message, &[])
        }
    }
}

/// The encoded pin, the executable, and the working directory.
fn own_pin(launch: &Launch, state_fd: RawFd) -> Result<[OwnedFd; 3]> {
    let executable = descriptor::own_image().context("its executable")?;
    let directory = open_directory().context("its working directory")?;
    let name = std::iter::once(&launch.own_name);
    let command_line: Vec<OsString> = name.chain(&launch.arguments).cloned().collect();
    let (before, after) = split_at_state_fd(&command_line, state_fd)
        .context("its command line differs from the one that the re-exec command was given")?;
    let variable = |(name, value): &(OsString, OsString)| {
        OsString::from_vec([name.as_bytes(), b"=", value.as_bytes()].concat())
    };
    let limit =
        |limit: Limit| PinnedLimit { name: limit.name(), soft: limit.soft, hard: limit.hard };
    let pin = Pin {
        executable: fingerprint(&executable).context("its executable")?,
        umask: process::umask(),
        limits: Limit::all().context("its limits")?.into_iter().map(limit).collect(),
        facts: facts([0, 1, 2]).context("what it may do")?,
        before,
        after,
        environment: launch.environment.iter().map(variable).collect(),
    };
    let pin = memfd::sealed("einhorn-pin", &write_pin(&pin)).context("cannot make a memfd")?;
    Ok([pin, executable, directory])
}

/// Attributes that must be equal in the master and a candidate, where the candidate's standard
/// input, output and error are `standard`.
fn facts(standard: [RawFd; 3]) -> io::Result<Vec<(String, String)>> {
    let mut facts = process_attributes::facts()?;
    for (name, number) in STANDARD.into_iter().zip(standard) {
        let target = std::fs::read_link(format!("/proc/self/fd/{number}"))?;
        facts.push((name.to_owned(), target.to_string_lossy().into_owned()));
    }
    Ok(facts)
}

fn open_directory() -> io::Result<OwnedFd> {
    descriptor::open_path(Path::new("."))
}

// ---- the master ----

/// The master's end of the socket pair on which a candidate sends its pin.
#[derive(Debug)]
pub(super) struct PinRequest {
    end: OwnedFd,
    expected: Vec<(String, String)>,
}

/// How a candidate was executed.
#[derive(Debug)]
pub struct Pinned {
    pin: Pin,
    directory: OwnedFd,
}

impl PinRequest {
    /// Creates the socket pair for a candidate whose standard input, output and error are
    /// `standard`. Also returns the candidate's end.
    ///
    /// # Errors
    /// What is missing.
    pub(super) fn new(standard: [RawFd; 3]) -> Result<(PinRequest, OwnedFd)> {
        let expected = facts(standard).context("--reexec-mode=pinned needs /proc")?;
        let (end, theirs) = scm_rights::pair().context("cannot make a socket pair")?;
        Ok((PinRequest { end, expected }, theirs))
    }

    /// Receives the pin of a candidate that has exited: its executable, and how it was executed.
    /// `subject` names the cause of a difference in an error.
    ///
    /// # Errors
    /// Why it cannot be pinned.
    pub(super) fn receive(self, subject: &str) -> Result<(OwnedFd, Pinned)> {
        let received = scm_rights::receive(&self.end, PIN_MESSAGE_MAX)
            .context("its pin cannot be received")?;
        let Some((message, descriptors)) = received else {
            bail!(
                "it does not tell how it was executed; an older release does not know of \
                        that, and a wrapper may have closed the descriptor for it"
            );
        };
        let not_understood = "its pin is malformed";
        let message = String::from_utf8_lossy(&message);
        let rest = message.strip_prefix(PIN_TITLE).context(not_understood)?;
        let Ok([pin, executable, directory]) = <[OwnedFd; 3]>::try_from(descriptors) else {
            bail!(rest.trim().to_owned());
        };
        // A sealed file is in memory, so that reading it cannot block.
        if !memfd::is_sealed(&pin) {
            bail!(not_understood);
        }
        let bytes = memfd::read_all(pin.as_raw_fd(), PIN_MAX).context("its pin cannot be read")?;
        let pin = parse_pin(&bytes).context(not_understood)?;
        match difference(&self.expected, &pin.facts) {
            None => Ok((executable, Pinned { pin, directory })),
            Some(difference) => Err(anyhow!("{subject} changes {difference}")),
        }
    }
}

impl Pinned {
    /// The fingerprint of its executable while it ran, when no process could write to it.
    pub(super) fn fingerprint(&self) -> (u64, i64, i64) {
        self.pin.executable
    }

    /// Execs it. Returns only if that failed, with everything as before.
    ///
    /// # Errors
    /// Why it was not tried.
    pub(super) fn execute(
        &self,
        program: Program<'_>,
        state: RawFd,
        mut carried: Vec<RawFd>,
    ) -> io::Result<io::Error> {
        let own = open_directory()?;
        carried.push(own.as_raw_fd());
        let (limits, changed) = self.changes()?;
        let (directory, umask) = (own.as_raw_fd(), process::umask());
        let from = PinnedFrom { directory, umask, limits: changed }.to_string();
        let Pin { before, after, environment, umask, .. } = &self.pin;
        let number = state.to_string();
        let ours = ["--with-state-fd", &number, "--pinned", &from].map(OsString::from);
        let arguments = strings(before.iter().chain(&ours).chain(after));
        Ok(exec(&Exec {
            program,
            arguments: &arguments,
            environment: &strings(environment),
            carried: &carried,
            directory: Some(self.directory.as_fd()),
            umask: Some(*umask),
            limits: &limits,
            foreign_image: None,
        }))
    }

    /// The limits to change for the exec, and their previous values for the next image. A hard
    /// limit is never lowered: that could not be undone.
    fn changes(&self) -> io::Result<(Vec<Limit>, Vec<ChangedLimit>)> {
        let mut changes = (Vec::new(), Vec::new());
        for PinnedLimit { name, soft, hard } in &self.pin.limits {
            // A limit that this release does not know stays as it is.
            let Some(mut limit) = Limit::named(name, *soft, *hard) else { continue };
            let own = limit.current()?;
            if own != limit {
                limit.hard = own.hard.max(*hard);
                changes.0.push(limit);
                let before = PinnedLimit { name: name.clone(), soft: own.soft, hard: own.hard };
                changes.1.push(ChangedLimit { before, hard: *hard });
            }
        }
        Ok(changes)
    }
}

// ---- the next image ----

/// Verifies that the directory for a roll-back is open, under a number that nothing else uses.
///
/// # Errors
/// The descriptor is missing or belongs to something else.
pub(super) fn verify_directory(from: &PinnedFrom, handover: &Handover) -> Result<()> {
    let number = from.directory;
    let is_other = handover.numbers().any(|carried| carried == number);
    match identity(number) {
        Ok(_) if !is_other => Ok(()),
        Ok(_) => Err(anyhow!("descriptor {number} (the old directory) is something else")),
        Err(error) => Err(anyhow!("descriptor {number} (the old directory): {error}")),
    }
}

/// C strings; the pin separates them by NULs, so none contains one.
fn strings<'a>(words: impl IntoIterator<Item = &'a OsString>) -> Vec<CString> {
    words.into_iter().filter_map(|word| CString::new(word.as_bytes()).ok()).collect()
}
