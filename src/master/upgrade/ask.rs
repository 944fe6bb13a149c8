//! A preflight: a candidate is started with the real state and reports whether it could take over.
//! The loop keeps running meanwhile.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::decide::{Event, PreflightOutcome};
use crate::master::Master;
use crate::master::child::Child;
use crate::master::upgrade::candidate::Candidate;
use crate::master::upgrade::open_files::original_limit;
use crate::master::upgrade::pin::PinRequest;
use crate::master::upgrade::preflight::{Preflight, Stream};
use crate::master::workers::deployment;
use crate::preflight::{REPORT_MAX, parse_report};
use crate::schema;
use crate::state::{Deployment, ExitStatus, Pid, ReexecMode};
use crate::sys::session::Leads;
use crate::sys::spawn::{Plan, spawn};
use crate::sys::{descriptor, limit, memfd, process, signal};

/// How many bytes of a candidate's output are kept, from the end: its last lines say why it failed.
const OUTPUT_KEPT: usize = 4 * 1024;

impl Master {
    /// Starts the candidate of an upgrade.
    pub(in crate::master) fn start_preflight(&mut self) {
        self.upgrade.candidate = None;
        let event = match self.try_preflight() {
            Ok((pid, preflight, deployment)) => {
                self.children.insert(pid, Child::Candidate(Box::new(preflight)));
                Event::PreflightStarted { pid, deployment }
            }
            Err(why) => {
                let why = format!("{why:#}");
                Event::PreflightEnded { outcome: PreflightOutcome::NotStarted { why } }
            }
        };
        self.events.push_back(event);
    }

    fn try_preflight(&self) -> Result<(Pid, Preflight, Option<Deployment>)> {
        let deployment = deployment::resolve_for_upgrade(&self.state)?;
        let directory = deployment.as_ref().and_then(|deployment| deployment.directory.as_ref());
        let candidate =
            Candidate::find(&self.state.config, &self.origin, directory.map(PathBuf::as_path))?;
        let pipe = || descriptor::pipe().context("cannot make a pipe");
        let (report, report_end) = pipe()?;
        let (output, output_end) = pipe()?;
        let nothing = File::open("/dev/null").context("/dev/null")?;
        let mut handover = self.handover(&[]).context("cannot list descriptors")?;
        handover.state.next_deployment.clone_from(&deployment);
        let bytes = schema::encode(&handover, None, Some(report_end.as_raw_fd()))?;
        let state = memfd::sealed("einhorn-preflight", &bytes)
            .context("cannot make a memfd for the state")?;
        let output_number = output_end.as_raw_fd();
        let standard = [nothing.as_raw_fd(), output_number, output_number];
        // A Ruby Einhorn sends no pin, and is executed by its path as usual.
        let (pin, pin_end) = match self.state.config.reexec_mode {
            ReexecMode::Pinned => Some(PinRequest::new(standard)?).unzip(),
            ReexecMode::Exec => (None, None),
        };
        let mut inherited: Vec<i32> = handover.numbers().collect();
        inherited.extend([state.as_raw_fd(), report_end.as_raw_fd()]);
        inherited.extend(pin_end.as_ref().map(AsRawFd::as_raw_fd));
        let config = &self.state.config;
        let path = candidate.path().context("its path")?;
        let directory = directory.map(|path| CString::new(path.as_os_str().as_bytes()));
        let directory = directory.transpose()?;
        let arguments = candidate
            .arguments(state.as_raw_fd(), &["--upgrade-check"], config)
            .context("its arguments")?;
        let environment = self.origin.environment_without(&config.drop_env_vars);
        let spawned = spawn(&Plan {
            program: candidate.program(&path),
            arguments: &arguments,
            environment: &environment,
            directory: directory.as_ref(),
            inherited: &inherited,
            stdio: Some(standard),
            // With the master's terminal, unlike workers: it stands for what will run in the
            // master's place and have that. Stopped by it, it is killed when its time is over.
            leads: Leads::Group,
            mask: self.origin.mask(),
            // The limit that the hand-over will set: carried descriptors need room below it.
            open_files: original_limit(&self.origin, &inherited)
                .or_else(|| limit::open_files().ok())
                .unwrap_or(self.origin.open_files()),
            nice: None,
            death_signal: signal::number("KILL"),
        })
        .map_err(|error| candidate.explain(&error))?;
        let preflight = Preflight {
            candidate,
            pin,
            report: Stream::new(report, REPORT_MAX),
            output: Stream::new(output, OUTPUT_KEPT),
        };
        preflight.watch(&self.wakeups.poll).context("cannot watch it").inspect_err(|_| {
            let _ = process::kill_group(spawned.pid);
        })?;
        Ok((Pid(spawned.pid), preflight, deployment))
    }

    /// Reads the reports and output of candidates. There may be several: one that was killed may
    /// not have exited yet.
    pub(in crate::master) fn drain_candidates(&mut self) {
        for child in self.children.values_mut() {
            if let Child::Candidate(preflight) = child {
                preflight.drain(&self.wakeups.poll);
            }
        }
    }

    /// Kills the process groups of all candidates.
    pub(in crate::master) fn kill_preflight(&mut self) {
        let is_candidate = |(_, child): &(&Pid, &Child)| matches!(child, Child::Candidate(_));
        let candidates = self.children.iter().filter(is_candidate).map(|(pid, _)| *pid);
        for pid in candidates.collect::<Vec<Pid>>() {
            self.kill_group(pid, "the candidate");
        }
    }

    /// Handles the exit of a candidate.
    pub(in crate::master) fn candidate_ended(
        &mut self,
        pid: Pid,
        mut preflight: Preflight,
        status: ExitStatus,
    ) {
        preflight.drain(&self.wakeups.poll);
        preflight.unwatch(&self.wakeups.poll);
        // Processes that a wrapper left running must not outlive it.
        let _ = process::kill_group(pid.0);
        let subject = if preflight.candidate.is_wrapper() { "the wrapper" } else { "it" };
        let pin = preflight.pin.take().map(|request| request.receive(subject));
        let pin = pin.map(|received| {
            received.map(|(executable, pinned)| preflight.candidate.pin(executable, pinned))
        });
        let pin = pin.map(|pinned| pinned.map_err(|why| format!("{why:#}")));
        let outcome = PreflightOutcome::Ended {
            pid,
            status,
            report: parse_report(&preflight.report.text()),
            pin,
            last_words: preflight.output.text(),
            is_truncated: preflight.output.is_truncated,
        };
        self.upgrade.candidate = Some(preflight.candidate);
        self.events.push_back(Event::PreflightEnded { outcome });
    }
}
