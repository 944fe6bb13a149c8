//! Invariants of a hand-over beyond `State::check`, mostly between its parts.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use crate::schema::handover::{CarriedConnection, CarriedPipe, Handover, Role};
use crate::state::{
    AckMode, Address, CAPTURED_LINE_MAX, Config, ConnectionId, Deployment, Listener, Pid, Rollout,
    SECONDS_MAX, State, StopSchedule, VARIABLES_MAX,
};

/// Refuses a hand-over that no master can have written, with the reason. `header` holds the
/// descriptors that the header names.
pub(super) fn check(header: [Option<i32>; 2], handover: &Handover) -> Result<(), String> {
    handover.state.check()?;
    check_config(&handover.state.config)?;
    check_descriptors(header, handover)?;
    check_connections(handover)?;
    check_senders(handover)?;
    check_helpers(handover)?;
    check_words(handover)?;
    check_deployments(handover)
}

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}

/// The bounds that the command line enforces.
fn check_config(config: &Config) -> Result<(), String> {
    let ack = match config.ack_mode {
        AckMode::Timer(after) => Some(after),
        AckMode::Manual => None,
    };
    let bounds = &config.rollout;
    check_spans([Some(config.respawn_interval), ack, config.signal_timeout])?;
    let steps = config.stop.iter().flat_map(StopSchedule::steps);
    check_spans(steps.map(|step| step.lasts))?;
    check_spans([bounds.ack_timeout, bounds.upgrade_timeout])?;
    check_spans([Some(bounds.canary), Some(bounds.on_canary_timeout)])?;
    let nice = [config.nice.master, config.nice.worker];
    for level in nice.into_iter().flatten() {
        ensure((-20..=19).contains(&level), || format!("{level} is not a nice level"))?;
    }
    Ok(())
}

fn check_spans(spans: impl IntoIterator<Item = Option<Duration>>) -> Result<(), String> {
    let max = Duration::from_secs_f64(SECONDS_MAX);
    let long = spans.into_iter().flatten().find(|span| *span > max);
    long.map_or(Ok(()), |span| Err(format!("a span of {span:?} is out of bounds")))
}

/// Each number and each role occurs once, and the listeners match the state.
fn check_descriptors(header: [Option<i32>; 2], handover: &Handover) -> Result<(), String> {
    let mut numbers = BTreeSet::new();
    let mut roles = BTreeSet::new();
    for number in header.into_iter().flatten() {
        ensure(numbers.insert(number), || format!("descriptor {number} is listed twice"))?;
    }
    for carried in &handover.descriptors {
        let (role, number) = (carried.role, carried.number);
        ensure(number >= 3, || format!("{role:?} has descriptor {number}"))?;
        ensure(numbers.insert(number), || format!("descriptor {number} is listed twice"))?;
        ensure(role == Role::Inherited || roles.insert(role), || {
            format!("{role:?} is listed twice")
        })?;
        let known = match role {
            Role::Listener(index) => {
                let index = usize::try_from(index).unwrap_or(usize::MAX);
                let listener = handover.state.listeners.get(index);
                listener.is_some_and(|listener| listener.descriptor == number)
            }
            Role::Worker(pid) => handover.state.workers.contains_key(&pid),
            Role::Connection(id) => handover.state.connections.contains_key(&id),
            Role::CommandSocket
            | Role::SocketLock
            | Role::Lock
            | Role::Pidfile
            | Role::Inherited => true,
        };
        ensure(known, || format!("the state has no {role:?} with descriptor {number}"))?;
    }
    let command_socket = Role::CommandSocket;
    ensure(roles.contains(&command_socket), || format!("{command_socket:?} is not carried"))?;
    let listeners = (0..).zip(&handover.state.listeners);
    for (index, Listener { descriptor, .. }) in listeners {
        ensure(roles.contains(&Role::Listener(index)), || {
            format!("listener {index} is not carried, its descriptor is {descriptor}")
        })?;
    }
    for id in handover.state.connections.keys() {
        ensure(roles.contains(&Role::Connection(*id)), || {
            format!("connection {} is not carried", id.0)
        })?;
    }
    check_worker_stderr(handover, &mut numbers)
}

/// Each worker has one pipe at most, and no pipe shares its number with another descriptor.
fn check_worker_stderr(handover: &Handover, numbers: &mut BTreeSet<i32>) -> Result<(), String> {
    let Handover { state, worker_stderr, .. } = handover;
    let is_asked = state.config.capture_stderr || worker_stderr.is_empty();
    ensure(is_asked, || "pipes are listed without `--capture-stderr`".to_owned())?;
    let mut pids = BTreeSet::new();
    for CarriedPipe { pid, is_orphan, number, identity: _, kept, unsent } in worker_stderr {
        ensure(*number >= 3, || format!("the pipe of {pid} has descriptor {number}"))?;
        ensure(numbers.insert(*number), || format!("descriptor {number} is listed twice"))?;
        let is_its = *is_orphan || state.workers.contains_key(pid) && pids.insert(*pid);
        ensure(is_its, || format!("the pipe with descriptor {number} does not belong to {pid}"))?;
        let unsent = usize::try_from(*unsent).unwrap_or(usize::MAX);
        let is_kept = unsent <= kept.len() && kept.len() <= CAPTURED_LINE_MAX;
        ensure(is_kept, || format!("the buffer of {pid} is invalid"))?;
    }
    Ok(())
}

/// The buffers belong to the connections of the state.
fn check_connections(handover: &Handover) -> Result<(), String> {
    let known = &handover.state.connections;
    let carried = handover.connections.iter().map(|connection| connection.id);
    ensure(carried.eq(known.keys().copied()), || {
        "the connections' buffers are not those of the state's connections".to_owned()
    })?;
    for (CarriedConnection { id, is_given, .. }, connection) in
        handover.connections.iter().zip(known.values())
    {
        let ConnectionId(number) = *id;
        // A worker that exited is forgotten, but another process may still hold its connection.
        ensure(*is_given || connection.given_to.is_none(), || {
            format!("connection {number} belongs to a worker, and was not given to one")
        })?;
        ensure(*id < handover.next_connection, || {
            format!("connection {number} is not older than the next one")
        })?;
    }
    Ok(())
}

/// Either every buffered byte of a worker's own connection has a sender, or none has.
fn check_senders(handover: &Handover) -> Result<(), String> {
    for (id, runs) in &handover.senders {
        let ConnectionId(number) = *id;
        let connection = handover.connections.iter().find(|connection| connection.id == *id);
        let given = connection.filter(|connection| connection.is_given);
        let given =
            given.ok_or_else(|| format!("connection {number} has senders, and no worker"))?;
        let is_sent = runs.iter().all(|run| run.length > 0 && run.pid >= 0);
        let length: u64 = runs.iter().map(|run| u64::from(run.length)).sum();
        let held = u64::try_from(given.input.len()).unwrap_or(u64::MAX);
        ensure(is_sent && length > 0 && length == held, || {
            format!("the senders of connection {number} are not those of what it holds")
        })?;
    }
    Ok(())
}

/// No process is listed in two roles.
fn check_helpers(handover: &Handover) -> Result<(), String> {
    let State { master_pid, workers, rollout, .. } = &handover.state;
    let check = rollout.as_ref().and_then(Rollout::check);
    let mut pids = BTreeSet::from_iter(check);
    for (pid, _) in &handover.helpers {
        let Pid(number) = *pid;
        let is_other = number > 1 && pid != master_pid && !workers.contains_key(pid);
        ensure(is_other && pids.insert(*pid), || {
            format!("the pid of helper {number} is another process's")
        })?;
    }
    Ok(())
}

/// Words that become C strings contain no NUL, and paths are absolute.
fn check_words(handover: &Handover) -> Result<(), String> {
    let (origin, config) = (&handover.origin, &handover.state.config);
    let level = origin.nice;
    ensure((-20..=19).contains(&level), || format!("{level} is not a nice level"))?;
    let always = [
        ("own_path", &origin.own_path),
        ("socket_path", &config.socket_path),
        ("pidfile", &config.pidfile),
        ("lockfile", &config.lockfile),
    ];
    let given = [
        ("chdir", &config.chdir),
        ("env_file", &config.env_file),
        ("metrics_file", &config.metrics_file),
    ];
    let given = given.into_iter().filter_map(|(name, path)| Some((name, path.as_ref()?)));
    check_paths(always.into_iter().chain(given))?;
    check_nul("own_name", [&origin.own_name])?;
    for (name, value) in &origin.environment {
        check_nul("environment", [name, value])?;
    }
    check_nul("original_command", &config.original_command)?;
    check_nul("command", &config.command)?;
    check_nul("reexec_as", &config.reexec_as)?;
    check_nul("drop_env_vars", &config.drop_env_vars)?;
    check_nul("on_canary", &config.rollout.on_canary)?;
    check_nul("renice_command", config.nice.renice_command.iter().flatten())?;
    check_nul("files", handover.files.iter().map(|file| &file.path))?;
    let bound = handover.state.listeners.iter().filter_map(|l| match &l.bind.address {
        Address::Unix { path, .. } => Some(path),
        Address::Tcp { .. } | Address::Udp { .. } => None,
    });
    check_nul("listeners", bound)
}

/// Bounds and paths of deployments and upgrades.
fn check_deployments(handover: &Handover) -> Result<(), String> {
    let state = &handover.state;
    let failures = state.rollout.iter().flat_map(|rollout| &rollout.failures);
    let ending = state.ending_upgrade.iter().map(|ending| &ending.ended);
    let ended = state.last_upgrade.iter().chain(ending);
    let failures = failures.chain(ended.clone().flat_map(|ended| &ended.failures));
    check_spans(failures.map(|failure| Some(failure.age)))?;
    check_spans(ended.clone().map(|ended| Some(ended.took)))?;
    let deployments = || state.deployments.values().chain(&state.next_deployment);
    let directories = deployments().filter_map(|deployment| deployment.directory.as_ref());
    let directories = directories
        .chain(state.workers.values().filter_map(|worker| worker.directory.as_ref()))
        .chain(ended.filter_map(|ended| ended.directory.as_ref()));
    check_paths(directories.map(|path| ("directory", path)))?;
    for Deployment { environment, .. } in deployments() {
        let size = environment.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        ensure(size <= VARIABLES_MAX, || format!("`--env-file` has given {size} bytes"))?;
        for (name, value) in environment {
            check_nul("environment", [name, value])?;
            let is_name = !name.is_empty() && !name.as_bytes().contains(&b'=');
            ensure(is_name, || "`--env-file` has given a variable without a name".to_owned())?;
        }
    }
    Ok(())
}

/// Paths that do not depend on the working directory.
fn check_paths<'p>(
    paths: impl IntoIterator<Item = (&'static str, &'p PathBuf)>,
) -> Result<(), String> {
    for (name, path) in paths {
        ensure(path.is_absolute(), || format!("`{name}` is not an absolute path"))?;
        check_nul(name, [path])?;
    }
    Ok(())
}

fn check_nul(field: &str, words: impl IntoIterator<Item: AsRef<OsStr>>) -> Result<(), String> {
    let has_nul = |word: &OsStr| word.as_bytes().contains(&0);
    let is_bad = words.into_iter().any(|word| has_nul(word.as_ref()));
    ensure(!is_bad, || format!("`{field}` contains a NUL"))
}
