//! The state dump, in the original's format (behaviour.md section 9).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use crate::protocol::{Psych, document};
use crate::scalar::Scalar;
use crate::state::{
    AckMode, Address, Bind, BoundBy, Config, Listener, Pid, Realtime, RolloutKind, State, Worker,
};

/// Formats the state dump as a YAML document.
pub fn dump(state: &State) -> String {
    let context = DumpContext {
        helpers: &[],
        retries: state.config.retries,
        is_smooth: state.rollout.as_ref().is_some_and(|r| r.kind == RolloutKind::Smooth),
        generation: state.reexec_count,
        last_spinup: state.last_spawned_on,
    };
    document(&Psych::symbols(vec![("state", facts(state, &context))]))
}

/// The values that differ between a dump and a hand-over of the same state.
pub(super) struct DumpContext<'a> {
    /// Children that are not workers.
    pub(super) helpers: &'a [(Pid, String)],
    /// `--retries`, which the original does not know.
    pub(super) retries: Option<u32>,
    /// Whether the roll-out in progress, or the one to come, is smooth.
    pub(super) is_smooth: bool,
    /// How many times the master has re-executed itself.
    pub(super) generation: u32,
    /// When a worker was last started.
    pub(super) last_spinup: Option<Realtime>,
}

/// The contents of `:state:`, in the original's order.
pub(super) fn facts(state: &State, context: &DumpContext<'_>) -> Psych {
    let config = &state.config;
    let workers = state.workers.iter().map(|(pid, w)| (Psych::integer(pid.0), worker(w)));
    // The only kind of child besides workers that the original can reap.
    let helper = || Psych::symbols(vec![("type", Psych::Symbol("state_passer"))]);
    let helpers = context.helpers.iter().map(|(pid, _)| (Psych::integer(pid.0), helper()));
    let children = workers.chain(helpers).collect();
    let bound = |bound_by: BoundBy| state.listeners.iter().filter(move |l| l.bound_by == bound_by);
    let per_listener =
        |of: fn(&Listener) -> Psych| Psych::List(bound(BoundBy::Option).map(of).collect());
    let sockets = bound(BoundBy::Word)
        .map(|listener| (bind(&listener.bind), Psych::integer(listener.descriptor)))
        .collect();
    let entries = vec![
        ("children", Psych::Map(children)),
        ("config", numbers(config, context.retries)),
        ("versions", Psych::Map(Vec::new())),
        ("version", Psych::integer(state.generation.0)),
        ("sockets", Psych::Map(sockets)),
        ("orig_cmd", words(&config.original_command)),
        ("bind", per_listener(|listener| bind(&listener.bind))),
        ("bind_fds", per_listener(|listener| Psych::integer(listener.descriptor))),
        ("bound_ports", per_listener(|listener| Psych::optional(listener.port, Psych::integer))),
        ("cmd", words(&config.command)),
        ("script_name", Psych::Nil),
        ("respawn", Psych::bool(state.stopping.is_none())),
        ("upgrading", Psych::bool(state.rollout.is_some())),
        ("smooth_upgrade", Psych::bool(context.is_smooth)),
        ("reloading_for_upgrade", Psych::bool(is_reloading_for_upgrade(state))),
        ("path", Psych::Nil),
        ("cmd_name", Psych::optional(config.command_name.as_ref(), Psych::text)),
        ("verbosity", Psych::integer(config.verbosity.0)),
        ("generation", Psych::integer(context.generation)),
        ("last_spinup", Psych::optional(context.last_spinup, time)),
        ("ack_mode", ack_mode(config.ack_mode)),
        ("kill_children_on_exit", Psych::bool(config.kill_children_on_exit)),
        ("command_socket_as_fd", Psych::bool(config.command_socket_as_fd)),
        ("socket_path", word(&config.socket_path)),
        ("pidfile", word(&config.pidfile)),
        ("lockfile", word(&config.lockfile)),
        ("consecutive_deaths_before_ack", Psych::integer(state.early_death_count)),
        ("last_upgraded", Psych::optional(state.last_upgraded_on, time)),
        ("nice", nice(config)),
        ("reexec_commandline", reexec_commandline(config)),
        ("drop_environment_variables", words(&config.drop_env_vars)),
        ("signal_timeout", Psych::optional(config.signal_timeout, seconds)),
        ("preloaded", Psych::bool(false)),
    ];
    Psych::symbols(entries)
}

fn is_reloading_for_upgrade(state: &State) -> bool {
    state.reexec.is_some_and(|reexec| reexec.kind.rollout().is_some())
}

pub(super) fn time(at: Realtime) -> Psych {
    Psych::Time(at.to_string())
}

fn worker(worker: &Worker) -> Psych {
    let signaled = worker.signaled.iter().map(|signal| signal.name()).collect();
    let mut entries = vec![
        ("type", Psych::Symbol("worker")),
        ("version", Psych::integer(worker.generation.0)),
        ("acked", Psych::bool(worker.is_acked())),
        ("signaled", Psych::Set(signaled)),
        ("last_signaled_at", Psych::optional(worker.last_signaled_on, time)),
        ("index", Psych::integer(worker.slot.0)),
        ("spinup_time", time(worker.spawned_on)),
    ];
    if let Some(ping) = &worker.ping {
        let id = ping.request_id.clone();
        entries.push(("pinged_at", time(ping.at)));
        entries.push(("pinged_request_id", Psych::optional(id, Psych::Scalar)));
    }
    Psych::symbols(entries)
}

fn numbers(config: &Config, retries: Option<u32>) -> Psych {
    let mut entries = vec![
        ("number", Psych::integer(config.target)),
        ("backlog", Psych::integer(config.backlog)),
        ("seconds", seconds(config.respawn_interval)),
    ];
    let optional = [
        ("max_unacked", config.max_unacked),
        ("max_upgrade_additional", config.max_upgrade_additional),
        ("retries", retries),
    ];
    let given = optional.into_iter().filter_map(|(name, value)| Some((name, value?)));
    entries.extend(given.map(|(name, value)| (name, Psych::integer(value))));
    Psych::symbols(entries)
}

/// `[host, port, [options]]`; a UNIX socket has its path as host, no port and no options.
fn bind(bind: &Bind) -> Psych {
    let (host, port) = match &bind.address {
        Address::Tcp { host, port } => (host.clone(), Some(*port)),
        Address::Udp { host, port } => (format!("udp:{host}"), Some(*port)),
        Address::Unix { .. } => (bind.address.to_string(), None),
    };
    let options = [
        (bind.options.reuse_address, "r"),
        (bind.options.nonblocking, "n"),
        (bind.options.v6only, "v6only"),
    ];
    let options = options.iter().filter(|(given, _)| *given).map(|(_, name)| Psych::text(*name));
    Psych::List(vec![
        Psych::text(host),
        Psych::optional(port, Psych::integer),
        Psych::List(options.collect()),
    ])
}

fn ack_mode(mode: AckMode) -> Psych {
    match mode {
        AckMode::Manual => Psych::symbols(vec![("type", Psych::Symbol("manual"))]),
        AckMode::Timer(after) => Psych::symbols(vec![
            ("type", Psych::Symbol("timer")),
            ("timeout", Psych::Scalar(Scalar::Float(after.as_secs_f64()))),
        ]),
    }
}

fn nice(config: &Config) -> Psych {
    let command = config.nice.renice_command.as_ref().map(|words| words.join(" "));
    Psych::symbols(vec![
        ("master", Psych::optional(config.nice.master, Psych::integer)),
        ("worker", Psych::optional(config.nice.worker, Psych::integer)),
        ("renice_cmd", Psych::text(command.unwrap_or_else(|| "/usr/bin/renice".to_owned()))),
    ])
}

fn reexec_commandline(config: &Config) -> Psych {
    match config.reexec_as.is_empty() {
        true => Psych::Nil,
        false => words(&config.reexec_as),
    }
}

fn words(words: &[impl AsRef<OsStr>]) -> Psych {
    Psych::List(words.iter().map(word).collect())
}

fn word(word: impl AsRef<OsStr>) -> Psych {
    Psych::bytes(word.as_ref().as_bytes())
}

/// A span in seconds, as an integer where it is whole, like the original's options.
fn seconds(span: Duration) -> Psych {
    match span.subsec_nanos() {
        0 => Psych::integer(span.as_secs()),
        _ => Psych::Scalar(Scalar::Float(span.as_secs_f64())),
    }
}
