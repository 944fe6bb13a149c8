//! Starting workers and helpers: what they inherit, built as data before the process exists
//! (behaviour.md section 2).

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::master::Master;
use crate::master::environment::assignments;
use crate::master::program::{explain, find_program};
use crate::master::workers::worker_environment::deployment_variables;
use crate::state::{Generation, Pid, Slot};
use crate::sys::process;
use crate::sys::spawn::{Plan, Program, Spawned, spawn};
use crate::sys::{credentials, signal};

/// A worker that was started.
#[derive(Debug)]
pub struct Started {
    /// The process.
    pub process: Spawned,
    /// The master's end of the worker's own connection (`-g`), non-blocking.
    pub connection: Option<UnixStream>,
}

impl Master {
    /// Starts a worker. Its directory and standard error are the master's unless given.
    ///
    /// # Errors
    /// What failed, on which path, and why.
    pub(super) fn start_worker(
        &self,
        slot: Slot,
        generation: Generation,
        directory: Option<&Path>,
        standard_error: Option<RawFd>,
    ) -> Result<Started> {
        let state = &self.state;
        let connection = match state.config.command_socket_as_fd {
            true => {
                let pair = UnixStream::pair().and_then(|(ours, theirs)| {
                    ours.set_nonblocking(true)?;
                    credentials::note_senders(&ours)?;
                    Ok((ours, theirs))
                });
                Some(pair.context("cannot make its connection")?)
            }
            false => None,
        };
        let theirs = connection.as_ref().map(|(_, theirs)| theirs.as_raw_fd());
        let mut inherited: Vec<i32> = state.listeners.iter().map(|l| l.descriptor).collect();
        inherited.extend(theirs);
        let deployed = deployment_variables(state, generation, directory);
        let environment = self.worker_environment(slot, theirs, &deployed);
        let config = &state.config;
        let nice = match (&config.nice.renice_command, config.nice.worker) {
            (None, Some(level)) => Some(level),
            // The master's own level is not for workers: back to that of the first start.
            _ => config.nice.master.is_some().then_some(self.origin.nice),
        };
        let death_signal = config
            .kill_children_on_exit
            .then(|| signal::number(config.stop_schedule().death_signal().name()))
            .flatten();
        let start = Start {
            directory,
            inherited: &inherited,
            nice,
            death_signal,
            environment: &environment,
            standard_error,
        };
        let process = self.start_process(&config.command, &start)?;
        Ok(Started { process, connection: connection.map(|(ours, _)| ours) })
    }

    /// The nice level that workers run at, whether the master or the renice command sets it.
    pub(super) fn worker_level(&self) -> i32 {
        let nice = &self.state.config.nice;
        let original = nice.master.map(|_| self.origin.nice);
        nice.worker.or(original).unwrap_or_else(process::nice)
    }

    /// Starts the command of `--on-canary` for a worker. Returns its pid.
    pub(super) fn start_check(
        &self,
        worker: Pid,
        generation: Generation,
        directory: Option<PathBuf>,
    ) -> Result<i32> {
        let state = &self.state;
        let mut command = state.config.rollout.on_canary.clone();
        command[0] = find_program(&command[0], self.origin.path())?.into_os_string();
        let facts = [
            ("EINHORN_CANARY_PID".into(), worker.to_string().into()),
            ("EINHORN_CANARY_GENERATION".into(), generation.0.to_string().into()),
            ("EINHORN_MASTER_PID".into(), state.master_pid.to_string().into()),
            ("EINHORN_SOCK_PATH".into(), state.config.socket_path.clone().into()),
        ];
        let deployed = deployment_variables(state, generation, directory.as_deref());
        let mut environment = self.origin.environment_with(&deployed);
        environment.extend(assignments(&facts));
        let start = Start {
            directory: directory.as_deref(),
            environment: &environment,
            nice: Some(self.origin.nice),
            ..Start::default()
        };
        Ok(self.start_process(&command, &start)?.pid)
    }

    /// Starts a helper program in the original environment. Returns its pid. It gets no terminal
    /// either: in the background, asking for a password there would only stop it; now it fails,
    /// and that is logged.
    pub(super) fn start_helper(&self, command: &[OsString]) -> Result<i32> {
        let program = find_program(&command[0], self.origin.path())?;
        let mut words = command.to_vec();
        words[0] = program.into_os_string();
        let environment = self.origin.environment_without(&[]);
        let start =
            Start { environment: &environment, nice: Some(self.origin.nice), ..Start::default() };
        Ok(self.start_process(&words, &start)?.pid)
    }

    fn start_process(&self, command: &[OsString], start: &Start<'_>) -> Result<Spawned> {
        let Start { directory, environment, inherited, nice, death_signal, standard_error } =
            *start;
        let program = directory.unwrap_or(Path::new("")).join(&command[0]);
        let failed = |error: io::Error| explain(&program, &error);
        let string = |word: &OsStr| {
            CString::new(word.as_bytes()).map_err(|error| failed(io::Error::from(error)))
        };
        let arguments = command.iter().map(|word| string(word)).collect::<Result<Vec<_>>>()?;
        let directory = directory.map(|path| string(path.as_os_str())).transpose()?;
        let standard_input = self.terminal.standard_input();
        let standard_input =
            standard_input.context("cannot open /dev/null for its standard input")?;
        let stdio =
            [standard_input.as_ref().map_or(0, AsRawFd::as_raw_fd), 1, standard_error.unwrap_or(2)];
        spawn(&Plan {
            program: Program::Path(&arguments[0]),
            arguments: &arguments,
            environment,
            directory: directory.as_ref(),
            inherited,
            stdio: (stdio != [0, 1, 2]).then_some(stdio),
            leads: self.terminal.leads(),
            mask: self.origin.mask(),
            open_files: self.origin.open_files(),
            nice,
            death_signal,
        })
        .map_err(failed)
    }
}

/// What differs between the kinds of processes started.
#[derive(Clone, Copy, Default)]
struct Start<'a> {
    directory: Option<&'a Path>,
    environment: &'a [CString],
    inherited: &'a [i32],
    nice: Option<i32>,
    death_signal: Option<i32>,
    /// Its standard error; the master's when absent.
    standard_error: Option<RawFd>,
}
