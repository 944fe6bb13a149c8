//! The start-up: every step that can fail, in an order in which a failure leaves nothing behind.

use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context, Result, anyhow, bail};

use crate::cli::{BindWord, Options};
use crate::decide::Level;
use crate::master::Master;
use crate::master::clients::client_limit::client_limit;
use crate::master::clients::connections::Connections;
use crate::master::command_socket::bind_command_socket;
use crate::master::created_files::CreatedFiles;
use crate::master::environment::variable;
use crate::master::launch::Launch;
use crate::master::listeners::Binder;
use crate::master::locks;
use crate::master::log::Log;
use crate::master::pid_file::write_pid_file;
use crate::master::program::find_program;
use crate::master::running_master::{Clients, Resources, Wakeups};
use crate::master::source::Source;
use crate::master::workers::deployment;
use crate::master::workers::stderr_to_log::WorkerStderr;
use crate::state::{BoundBy, Config, Generation, Listener, Pid, State};
use crate::sys::file::OwnedFile;
use crate::sys::poll::{Interest, Poll};
use crate::sys::signal::Signals;
use crate::sys::{children, descriptor, limit, process, socket, title};

/// What a start acquired for this master alone.
struct Acquired {
    /// Lines to log: which default files are missing, and why.
    notes: Vec<String>,
    command_socket: OwnedFd,
    listeners: Vec<Listener>,
    resources: Resources,
}

impl Master {
    /// Starts up a master; no worker is started yet.
    ///
    /// # Errors
    /// Why it failed and what to do about it; nothing is left bound or written.
    pub fn start(mut options: Options, launch: Launch) -> Result<Master> {
        let pid = process::own_pid();
        descriptor::close_inherited_on_exec()?;
        children::verify()
            .context("cannot ask what has happened to children (waitid and wait4)")?;
        let path = variable(&launch.environment, "PATH");
        let program = find_program(&options.config.command[0], path)?;
        options.config.command[0] = program.into_os_string();
        let deployment = deployment::resolve(&options.config)?;
        let mut log = match options.config.syslog {
            true => Log::to_syslog(pid)?,
            false => Log::to_standard_error(pid),
        };
        let open_files = limit::open_files()?;
        let origin = launch.origin(open_files);
        let poll = Poll::new()?;
        let signals = Signals::new()?;
        let captures_stderr = options.config.capture_stderr;
        let worker_stderr =
            captures_stderr.then(|| WorkerStderr::new(open_files.hard)).transpose()?;

        let mut created = CreatedFiles::default();
        let acquired = acquire(&mut options, pid, &mut created)?;
        let config = options.config;
        prepare_process(&config, open_files, &mut log);
        warn_of_small_backlog(&config, &acquired.listeners, &mut log);
        let mut state = State::new(config, acquired.listeners, Pid(pid), limit::processor_count());
        state.deployments.extend(deployment.map(|begun| (Generation(0), begun)));
        #[cfg(feature = "next")]
        let state = State { note: options.note, hint: options.hint, ..state };
        let Acquired { notes, command_socket, mut resources, .. } = acquired;
        resources.inherited_fds = launch.open_at_start.into_iter().map(descriptor::claim).collect();
        let clients = Clients {
            command_socket,
            accept_again_at: None,
            connections: Connections::new(),
            limit: client_limit(open_files.hard),
        };
        let wakeups = Wakeups { poll, signals, wait_mask: launch.mask.without_handled() };
        let mut master =
            Master::new(state, log, origin, clients, worker_stderr, wakeups, resources);
        master.watch()?;
        master.resources.files = created.keep();
        master.log_start();
        for note in notes {
            master.log(Level::Info, &note);
        }
        Ok(master)
    }

    fn watch(&self) -> Result<()> {
        socket::set_nonblocking(self.clients.command_socket.as_fd())?;
        let Wakeups { poll, signals, .. } = &self.wakeups;
        poll.add(signals.descriptor(), Source::Signals, Interest::READ)?;
        Ok(poll.add(&self.clients.command_socket, Source::CommandSocket, Interest::READ)?)
    }

    fn log_start(&mut self) {
        let config = &self.state.config;
        let words = config.command.iter().map(|word| word.to_string_lossy());
        let words: Vec<String> = words.map(|word| shell_words::quote(&word).into_owned()).collect();
        let mut lines = vec![
            format!("Running {} of: {}", config.target, words.join(" ")),
            format!("Command socket: {}", config.socket_path.display()),
        ];
        lines.extend(self.state.listeners.iter().map(bound_line));
        for line in lines {
            self.log(Level::Info, &line);
        }
    }
}

/// Acquires locks, command socket, listeners and pid file, and puts the descriptor numbers of
/// `srv:` words into the command. The locks come first, so that a conflict with a running master of
/// this name is reported as such.
fn acquire(options: &mut Options, pid: i32, created: &mut CreatedFiles) -> Result<Acquired> {
    let config = &mut options.config;
    let mut notes = Vec::new();
    let socket_lock;
    let (mut lock, mut default_lock) = (None, None);
    // If the start-up fails, lock files must be removed while their locks are still held: what is
    // declared last is dropped first. If it succeeds, they stay.
    let mut created_locks = CreatedFiles::default();
    socket_lock = locks::take_socket_lock(config, &mut created_locks)?;
    let held = OwnedFile::of(&config.socket_lock(), &socket_lock)?;
    if config.is_lockfile_named {
        lock = locks::take_lock(&config.lockfile, Some(&held), &mut created_locks)
            .map_err(|error| anyhow!("{error:#}; choose another with -f"))?;
    } else {
        match locks::take_default_lock(&config.lockfile, Some(&held), &mut created_locks) {
            Ok(taken) => default_lock = taken,
            Err(error) => notes.push(format!("Starting without the default lock file: {error:#}")),
        }
    }
    let command_socket = bind_command_socket(&config.socket_path, created)?;
    drop(default_lock);
    let mut binder = Binder { host_family: options.host_family, backlog: config.backlog, created };
    let mut bound = Vec::new();
    for bind in &options.binds {
        bound.push(binder.bind(bind, BoundBy::Option)?);
    }
    let (mut listeners, mut sockets): (Vec<Listener>, Vec<OwnedFd>) = bound.into_iter().unzip();
    for BindWord { index, prefix, bind } in &options.bind_words {
        // Equal words share a descriptor.
        let is_same = |known: &&Listener| known.bound_by == BoundBy::Word && known.bind == *bind;
        let descriptor = match listeners.iter().find(is_same) {
            Some(known) => known.descriptor,
            None => {
                let (listener, socket) = binder.bind(bind, BoundBy::Word)?;
                let descriptor = listener.descriptor;
                listeners.push(listener);
                sockets.push(socket);
                descriptor
            }
        };
        config.command[*index] = format!("{prefix}{descriptor}").into();
    }
    let pidfile = match write_pid_file(&config.pidfile, pid, created) {
        Err(error) if options.is_pidfile_given => bail!("{error:#}; choose another with -e"),
        Err(error) => {
            notes.push(format!("Running without the default pid file: {error:#}"));
            None
        }
        Ok(pidfile) => pidfile,
    };
    created_locks.keep();
    let resources = Resources {
        _listeners: sockets,
        socket_lock: Some(socket_lock),
        lock,
        pidfile,
        image: descriptor::own_image().ok(),
        ..Resources::default()
    };
    Ok(Acquired { notes, command_socket, listeners, resources })
}

/// Optional preparations: if one fails, the master logs it and runs without.
fn prepare_process(config: &Config, open_files: limit::Limit, log: &mut Log) {
    let mut warn = |what: &str, error: &std::io::Error| {
        log.write(config.verbosity, Level::Error, &format!("{what}: {error}"));
    };
    if let Err(error) = limit::raise_open_files(open_files) {
        warn("Cannot raise the limit of open files", &error);
    }
    if let (Some(level), None) = (config.nice.master, &config.nice.renice_command)
        && let Err(error) = process::set_nice(level)
    {
        warn(&format!("Cannot set the master's nice level to {level}"), &error);
    }
    if let Some(name) = &config.command_name
        && let Err(error) = title::set(&format!("einhorn: {name}"))
    {
        warn("Cannot show the name in ps", &error);
    }
}

fn warn_of_small_backlog(config: &Config, listeners: &[Listener], log: &mut Log) {
    let Some(max) = socket::backlog_max() else { return };
    if max < config.backlog && !listeners.is_empty() {
        let message = format!(
            "The kernel shortens the backlog from {} to {max}; raise net.core.somaxconn",
            config.backlog
        );
        log.write(config.verbosity, Level::Error, &message);
    }
}

/// Log line of a listener: its address, and the port if the kernel chose it.
fn bound_line(listener: &Listener) -> String {
    let address = listener.bind.address.to_string();
    let chosen = listener.port.filter(|port| !address.ends_with(&format!(":{port}")));
    let port = chosen.map(|port| format!(" (port {port})")).unwrap_or_default();
    format!("Bound {address}{port} as descriptor {}", listener.descriptor)
}
