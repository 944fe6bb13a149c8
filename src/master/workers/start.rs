//! Starting workers: what they are given, built as data before the process exists
//! (behaviour.md section 2).

use std::ffi::{CString, OsStr, OsString};
use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use crate::decide::{Event, Level};
use crate::master::Master;
use crate::master::workers::deployment;
use crate::master::workers::stderr::Captured;
use crate::schema::Origin;
use crate::state::{self, ConnectionId, Generation, Listener, Pid, Slot, State};
use crate::sys::limit::OpenFiles;
use crate::sys::signal::{self, Mask};
use crate::sys::spawn::{Plan, Program, Spawned, spawn};

/// What the master was started with, which it hands on to workers and to its next image.
#[derive(Debug)]
pub struct Inheritance {
    origin: Origin,
}

/// A worker that runs.
#[derive(Debug)]
pub struct Started {
    /// The process.
    pub process: Spawned,
    /// The master's end of the connection that `-g` gave it, non-blocking.
    pub connection: Option<UnixStream>,
}

/// What is particular to a worker that is to be started.
#[derive(Debug)]
pub struct Place<'a> {
    slot: Slot,
    generation: Generation,
    /// Its working directory; the master's when absent.
    directory: Option<&'a Path>,
    /// What becomes its standard error; the master's when absent.
    standard_error: Option<RawFd>,
}

impl Master {
    /// Starts a worker that was ordered.
    pub(in crate::master) fn spawn(&mut self, slot: Slot, generation: Generation) {
        let (started, directory) = match self.try_spawn(slot, generation) {
            Ok(started) => started,
            Err(why) => return self.events.push_back(Event::SpawnFailed { slot, why }),
        };
        let pid = started.process.pid;
        if let Some(error) = started.process.nice_error {
            self.log(Level::Error, &format!("Cannot set the nice level of worker {pid}: {error}"));
        }
        let connection = started.connection.and_then(|ours| self.give(pid, ours));
        self.events.push_back(Event::Spawned { slot, pid: Pid(pid), connection, directory });
        if let Some(level) = self.state.config.nice.worker {
            self.renice(level, pid);
        }
    }

    fn try_spawn(
        &mut self,
        slot: Slot,
        generation: Generation,
    ) -> Result<(Started, Option<PathBuf>), String> {
        let directory = deployment::place(&self.state, generation)?;
        let pipe = self.captured.as_ref().map(Captured::pipe).transpose();
        let pipe = pipe.map_err(|e| format!("cannot make a pipe for its standard error: {e}"))?;
        // The worker's end is closed here at the end: the pipe ends with those who have it.
        let (ours, theirs) = pipe.unzip();
        let place = Place {
            slot,
            generation,
            directory: directory.as_deref(),
            standard_error: theirs.as_ref().map(AsRawFd::as_raw_fd),
        };
        let started = self.inheritance.start(&self.state, &place)?;
        if let (Some(captured), Some(ours)) = (&mut self.captured, ours) {
            captured.add(started.process.pid, ours);
        }
        Ok((started, directory))
    }

    /// Takes in the master's end of a worker's own connection.
    fn give(&mut self, pid: i32, ours: UnixStream) -> Option<ConnectionId> {
        match self.connections.add(&self.poll, ours, true) {
            Ok(id) => Some(id),
            Err(error) => {
                self.log(Level::Error, &format!("Cannot watch worker {pid}'s connection: {error}"));
                None
            }
        }
    }
}

impl Inheritance {
    /// What this process was started with.
    pub fn new(origin: Origin) -> Inheritance {
        let mut origin = origin;
        origin.environment.retain(|(name, _)| !is_ours(name));
        Inheritance { origin }
    }

    /// What this process was started with.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The limit of open files that this process was started with.
    pub fn open_files(&self) -> OpenFiles {
        OpenFiles { soft: self.origin.open_files_soft, hard: self.origin.open_files_hard }
    }

    /// The mask that this process was started with.
    pub fn mask(&self) -> Mask {
        Mask::from_bits(self.origin.blocked_signals)
    }

    /// Where a bare name is looked up.
    pub fn path(&self) -> Option<&OsStr> {
        let path = self.origin.environment.iter().find(|(name, _)| name == "PATH");
        path.map(|(_, value)| value.as_os_str())
    }

    /// The environment for the next image: the original one without the variables to drop.
    pub fn environment_without(&self, dropped: &[OsString]) -> Vec<CString> {
        let kept = self.origin.environment.iter().filter(|(name, _)| !dropped.contains(name));
        kept.filter_map(|(name, value)| variable(name, value).ok()).collect()
    }

    /// Starts a worker in its place.
    ///
    /// # Errors
    /// What failed, on which path, and why, in words.
    pub fn start(&self, state: &State, place: &Place<'_>) -> Result<Started, String> {
        let Place { slot, generation, directory, standard_error } = *place;
        let failed = |what: &str, error: &io::Error| format!("{what}: {error}");
        let given = match state.config.command_socket_as_fd {
            true => {
                let pair = UnixStream::pair().and_then(|(ours, theirs)| {
                    ours.set_nonblocking(true)?;
                    Ok((ours, theirs))
                });
                Some(pair.map_err(|error| failed("cannot make its connection", &error))?)
            }
            false => None,
        };
        let theirs = given.as_ref().map(|(_, theirs)| theirs.as_raw_fd());
        let mut inherited: Vec<i32> = state.listeners.iter().map(|l| l.descriptor).collect();
        inherited.extend(theirs);
        let deployed = deployed(state, generation, directory);
        let environment = self.environment_of(state, slot, theirs, &deployed);
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
        let process = self.spawn(&config.command, &start)?;
        Ok(Started { process, connection: given.map(|(ours, _)| ours) })
    }

    /// Starts the command of `--on-canary` for a worker. Answers its pid.
    ///
    /// # Errors
    /// What failed, on which path, and why, in words.
    pub fn start_check(
        &self,
        state: &State,
        worker: Pid,
        generation: Generation,
        directory: Option<PathBuf>,
    ) -> Result<i32, String> {
        let mut command = state.config.rollout.on_canary.clone();
        command[0] = find_program(&command[0], self.path())?.into_os_string();
        let facts = [
            ("EINHORN_CANARY_PID", worker.to_string().into()),
            ("EINHORN_CANARY_GENERATION", generation.0.to_string().into()),
            ("EINHORN_MASTER_PID", state.master_pid.to_string().into()),
            ("EINHORN_SOCK_PATH", state.config.socket_path.clone().into()),
        ];
        let deployed = deployed(state, generation, directory.as_deref());
        let mut environment = self.environment_with(&deployed);
        environment.extend(
            facts.iter().filter_map(|(name, value): &(&str, OsString)| {
                variable(OsStr::new(name), value).ok()
            }),
        );
        let start = Start {
            directory: directory.as_deref(),
            environment: &environment,
            inherited: &[],
            nice: Some(self.origin.nice),
            death_signal: None,
            standard_error: None,
        };
        Ok(self.spawn(&command, &start)?.pid)
    }

    /// Starts a program that is no worker, in the original environment. Answers its pid.
    ///
    /// # Errors
    /// What failed, on which path, and why, in words.
    pub fn start_helper(&self, command: &[OsString]) -> Result<i32, String> {
        let program = find_program(&command[0], self.path())?;
        let mut words = command.to_vec();
        words[0] = program.into_os_string();
        let environment = self.environment_without(&[]);
        let start = Start {
            directory: None,
            environment: &environment,
            inherited: &[],
            nice: Some(self.origin.nice),
            death_signal: None,
            standard_error: None,
        };
        Ok(self.spawn(&words, &start)?.pid)
    }

    fn spawn(&self, command: &[OsString], start: &Start<'_>) -> Result<Spawned, String> {
        let Start { directory, environment, inherited, nice, death_signal, standard_error } =
            *start;
        let program = directory.unwrap_or(Path::new("")).join(&command[0]);
        let failed = |error: io::Error| explain(&program, &error);
        let string = |word: &OsStr| {
            CString::new(word.as_bytes()).map_err(|error| failed(io::Error::from(error)))
        };
        let arguments =
            command.iter().map(|word| string(word)).collect::<Result<Vec<_>, String>>()?;
        let directory = directory.map(|path| string(path.as_os_str())).transpose()?;
        spawn(&Plan {
            program: Program::Path(&arguments[0]),
            arguments: &arguments,
            environment,
            directory: directory.as_ref(),
            inherited,
            stdio: standard_error.map(|number| [0, 1, number]),
            mask: self.mask(),
            open_files: self.open_files(),
            nice,
            death_signal,
        })
        .map_err(failed)
    }

    fn environment_of(
        &self,
        state: &State,
        slot: Slot,
        given: Option<i32>,
        deployed: &[(OsString, OsString)],
    ) -> Vec<CString> {
        let config = &state.config;
        let announced: Vec<&Listener> = state
            .listeners
            .iter()
            .filter(|listener| listener.origin == state::Origin::Option)
            .collect();
        let numbers: Vec<String> = announced.iter().map(|l| l.descriptor.to_string()).collect();
        let mut ours: Vec<(String, OsString)> = vec![
            ("EINHORN_MASTER_PID".to_owned(), state.master_pid.to_string().into()),
            ("EINHORN_SOCK_PATH".to_owned(), config.socket_path.clone().into()),
            ("EINHORN_CHILD_INDEX".to_owned(), slot.0.to_string().into()),
            ("EINHORN_FD_COUNT".to_owned(), announced.len().to_string().into()),
            // The original's older form, which workers may still read.
            ("EINHORN_FDS".to_owned(), numbers.join(" ").into()),
        ];
        for (index, listener) in announced.iter().enumerate() {
            let descriptor = listener.descriptor.to_string();
            let kind = listener.socket_type_name();
            ours.push((format!("EINHORN_FD_{index}"), descriptor.into()));
            ours.push((format!("EINHORN_FD_FAMILY_{index}"), listener.family.name().into()));
            ours.push((format!("EINHORN_FD_TYPE_{index}"), kind.into()));
        }
        if let Some(number) = given {
            ours.push(("EINHORN_SOCK_FD".to_owned(), number.to_string().into()));
        }
        let ours = ours.iter().filter_map(|(name, value)| variable(OsStr::new(name), value).ok());
        self.environment_with(deployed).into_iter().chain(ours).collect()
    }

    /// The original environment with further variables, which replace those of the same name.
    fn environment_with(&self, added: &[(OsString, OsString)]) -> Vec<CString> {
        let replaced: Vec<OsString> = added.iter().map(|(name, _)| name.clone()).collect();
        let mut environment = self.environment_without(&replaced);
        environment.extend(added.iter().filter_map(|(name, value)| variable(name, value).ok()));
        environment
    }
}

/// What is particular to a start.
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

fn variable(name: &OsStr, value: &OsStr) -> Result<CString, std::ffi::NulError> {
    // With room for the zero at the end: a start makes every variable anew.
    let mut bytes = Vec::with_capacity(name.len() + value.len() + 2);
    bytes.extend_from_slice(name.as_bytes());
    bytes.push(b'=');
    bytes.extend_from_slice(value.as_bytes());
    CString::new(bytes)
}

/// Whether einhorn itself sets a variable: a master that is a worker of another must not hand on
/// descriptors that only it has.
pub fn is_ours(name: &OsStr) -> bool {
    const NAMES: [&str; 5] = [
        "EINHORN_MASTER_PID",
        "EINHORN_SOCK_PATH",
        "EINHORN_SOCK_FD",
        "EINHORN_CHILD_INDEX",
        "EINHORN_FDS",
    ];
    let families = ["EINHORN_FD_", "EINHORN_CANARY_"];
    let is_in_family = |name: &str| families.iter().any(|family| name.starts_with(family));
    name.to_str().is_some_and(|name| NAMES.contains(&name) || is_in_family(name))
}

/// Looks a program up: a name with a slash is a path, another one is searched in PATH.
///
/// # Errors
/// A sentence with the name and where it was searched.
pub fn find_program(name: &OsStr, path: Option<&OsStr>) -> Result<PathBuf, String> {
    if name.as_bytes().contains(&b'/') {
        return Ok(PathBuf::from(name));
    }
    // What execvp(3) takes when PATH is unset.
    let path = path.unwrap_or(OsStr::new("/bin:/usr/bin"));
    let is_program = |file: &PathBuf| {
        fs::metadata(file).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
    };
    std::env::split_paths(path).map(|folder| folder.join(name)).find(is_program).ok_or_else(|| {
        format!("there is no program {name:?} in PATH ({}); give its path", path.display())
    })
}

/// Why a program could not be executed, with its path; execve(2) alone says too little.
pub fn explain(program: &Path, error: &io::Error) -> String {
    const EXEC_FORMAT_ERROR: i32 = 8;
    let metadata = fs::metadata(program);
    let hint = match (error.kind(), &metadata) {
        (ErrorKind::NotFound, Ok(_)) => ": the interpreter that it names is missing",
        (ErrorKind::PermissionDenied, Ok(found)) if found.is_dir() => ": it is a directory",
        (ErrorKind::PermissionDenied, Ok(found)) if found.permissions().mode() & 0o111 == 0 => {
            ": it is not executable (chmod +x)"
        }
        (ErrorKind::PermissionDenied, Ok(_)) => {
            ": it or its interpreter may not be executed here (noexec mount, permissions)"
        }
        _ if error.raw_os_error() == Some(EXEC_FORMAT_ERROR) => {
            ": it is neither a program for this machine nor a script with a #! line"
        }
        _ => "",
    };
    format!("cannot execute {}: {error}{hint}", program.display())
}
