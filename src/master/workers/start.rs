//! Starting workers: what they are given, built as data before the process exists
//! (behaviour.md section 2).

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::master::Master;
use crate::master::environment::{Environment, assignments};
use crate::master::program::{explain, find_program};
use crate::state::{self, Generation, Listener, Pid, Slot, State};
use crate::sys::spawn::{Plan, Program, Spawned, spawn};
use crate::sys::{credentials, signal};

/// A worker that runs.
#[derive(Debug)]
pub struct Started {
    /// The process.
    pub process: Spawned,
    /// The master's end of the connection that `-g` gave it, non-blocking.
    pub connection: Option<UnixStream>,
}

impl Master {
    /// Starts a worker, in the master's directory and with its standard error unless there is
    /// another.
    ///
    /// # Errors
    /// What failed, on which path, and why, in words.
    pub(super) fn start_worker(
        &self,
        slot: Slot,
        generation: Generation,
        directory: Option<&Path>,
        standard_error: Option<RawFd>,
    ) -> Result<Started> {
        let state = &self.state;
        let given = match state.config.command_socket_as_fd {
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
        let theirs = given.as_ref().map(|(_, theirs)| theirs.as_raw_fd());
        let mut inherited: Vec<i32> = state.listeners.iter().map(|l| l.descriptor).collect();
        inherited.extend(theirs);
        let deployed = deployed(state, generation, directory);
        let environment = self.worker_environment(slot, theirs, &deployed);
        let config = &state.config;
        let nice = match (&config.nice.renice_command, config.nice.worker) {
            (None, Some(level)) => Some(level),
            // Back to the level of the first start: the master's own is not for workers.
            _ => config.nice.master.is_some().then_some(self.origin.nice),
        };
        let death_signal = config.kill_children_on_exit.then(|| signal::number("USR2")).flatten();
        let start = Start {
            directory,
            inherited: &inherited,
            nice,
            death_signal,
            environment: &environment,
            standard_error,
        };
        let process = self.start_process(&config.command, &start)?;
        Ok(Started { process, connection: given.map(|(ours, _)| ours) })
    }

    /// Starts the command of `--on-canary` for a worker. Answers its pid.
    ///
    /// # Errors
    /// What failed, on which path, and why, in words.
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
        let deployed = deployed(state, generation, directory.as_deref());
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

    /// Starts a program that is no worker, in the original environment. Answers its pid.
    ///
    /// # Errors
    /// What failed, on which path, and why, in words.
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
        spawn(&Plan {
            program: Program::Path(&arguments[0]),
            arguments: &arguments,
            environment,
            directory: directory.as_ref(),
            inherited,
            stdio: standard_error.map(|number| [0, 1, number]),
            mask: self.origin.mask(),
            open_files: self.origin.open_files(),
            nice,
            death_signal,
        })
        .map_err(failed)
    }

    fn worker_environment(
        &self,
        slot: Slot,
        given: Option<i32>,
        deployed: &Environment,
    ) -> Vec<CString> {
        let state = &self.state;
        let announced: Vec<&Listener> = state
            .listeners
            .iter()
            .filter(|listener| listener.bound_by == state::BoundBy::Option)
            .collect();
        let numbers: Vec<String> = announced.iter().map(|l| l.descriptor.to_string()).collect();
        let mut ours: Vec<(OsString, OsString)> = vec![
            ("EINHORN_MASTER_PID".into(), state.master_pid.to_string().into()),
            ("EINHORN_SOCK_PATH".into(), state.config.socket_path.clone().into()),
            ("EINHORN_CHILD_INDEX".into(), slot.0.to_string().into()),
            ("EINHORN_FD_COUNT".into(), announced.len().to_string().into()),
            // The original's older form, which workers may still read.
            ("EINHORN_FDS".into(), numbers.join(" ").into()),
        ];
        for (index, listener) in announced.iter().enumerate() {
            let descriptor = listener.descriptor.to_string();
            let kind = listener.socket_type_name();
            ours.push((format!("EINHORN_FD_{index}").into(), descriptor.into()));
            ours.push((format!("EINHORN_FD_FAMILY_{index}").into(), listener.family.name().into()));
            ours.push((format!("EINHORN_FD_TYPE_{index}").into(), kind.into()));
        }
        if let Some(number) = given {
            ours.push(("EINHORN_SOCK_FD".into(), number.to_string().into()));
        }
        let mut environment = self.origin.environment_with(deployed);
        environment.extend(assignments(&ours));
        environment
    }
}

/// What is particular to a start.
#[derive(Clone, Copy, Default)]
struct Start<'a> {
    directory: Option<&'a Path>,
    environment: &'a [CString],
    inherited: &'a [i32],
    nice: Option<i32>,
    death_signal: Option<i32>,
    /// What becomes its standard error; the master's when absent.
    standard_error: Option<RawFd>,
}

/// The variables that a generation adds: those of `--env-file`, and where it is started.
fn deployed(
    state: &State,
    generation: Generation,
    directory: Option<&Path>,
) -> Vec<(OsString, OsString)> {
    let deployment = state.deployments.get(&generation);
    let mut variables = deployment.map(|d| d.environment.clone()).unwrap_or_default();
    if let Some(directory) = directory {
        // Shells believe it, and it named the directory of whoever started the master.
        variables.retain(|(name, _)| name != "PWD");
        variables.push(("PWD".into(), directory.into()));
    }
    variables
}
