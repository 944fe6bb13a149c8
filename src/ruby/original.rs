//! Reads and checks the state of a Ruby master that hands over. Missing keys get the original's
//! defaults, since older releases have fewer keys.

use std::ffi::OsString;
use std::time::Duration;

use crate::ruby::field::{Field, Notes};
use crate::ruby::{connection, worker, yaml};
use crate::state::{
    AckMode, Address, Bind, Config, ListenerOptions, Nice, Realtime, Verbosity, WORKERS_MAX,
};

pub(super) use connection::{AckTimer, Connection};
pub(super) use worker::Worker;

/// A Ruby master at the time of its exec.
#[derive(Clone, Debug, PartialEq)]
pub struct Original {
    pub(super) workers: Vec<Worker>,
    /// Short-lived processes that handed over the state, now or before.
    pub(super) passers: Vec<i32>,
    pub(super) options: Options,
    pub(super) listeners: Vec<Listener>,
    pub(super) command_server: i32,
    pub(super) connections: Vec<Connection>,
    pub(super) ack_timers: Vec<AckTimer>,
    /// The workers' code; `:version:`.
    pub(super) version: u32,
    /// How many times it has re-executed itself, this time included; `:generation:`.
    pub(super) generation: u32,
    pub(super) respawn: bool,
    pub(super) upgrading: bool,
    pub(super) smooth_upgrade: bool,
    pub(super) reloading_for_upgrade: bool,
    pub(super) early_death_count: u32,
    pub(super) last_spinup: Option<Realtime>,
    pub(super) last_upgraded: Option<Realtime>,
    /// What will be different after a takeover, as messages for the log.
    pub(super) notes: Vec<String>,
}

/// Its configuration.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Options {
    /// All but the paths, which are here as they were given.
    pub config: Config,
    pub socket_path: Option<OsString>,
    pub pidfile: Option<OsString>,
    pub lockfile: Option<OsString>,
}

/// A listening socket of its workers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Listener {
    pub bind: Bind,
    /// Whether it comes from a `srv:` word.
    pub is_word: bool,
    pub descriptor: i32,
    /// The path of its field, for messages.
    pub place: String,
}

/// The known keys of `:state:`. `versions`, `script_name` and `preloaded` are ignored.
pub const STATE_KEYS: &[&str] = &[
    "children",
    "config",
    "versions",
    "version",
    "sockets",
    "orig_cmd",
    "bind",
    "bind_fds",
    "bound_ports",
    "cmd",
    "script_name",
    "respawn",
    "upgrading",
    "smooth_upgrade",
    "reloading_for_upgrade",
    "reloading_for_preload_upgrade",
    "path",
    "cmd_name",
    "verbosity",
    "generation",
    "last_spinup",
    "ack_mode",
    "kill_children_on_exit",
    "command_socket_as_fd",
    "socket_path",
    "pidfile",
    "lockfile",
    "consecutive_deaths_before_ack",
    "last_upgraded",
    "nice",
    "reexec_commandline",
    "drop_environment_variables",
    "signal_timeout",
    "preloaded",
];

const KNOWN_NUMBERS: &[&str] =
    &["number", "backlog", "seconds", "max_unacked", "max_upgrade_additional"];

/// The first bytes of a state of the original.
pub const STATE_PREFIX: &[u8] = b"---";

/// The respawn interval if the original has none.
const SECONDS_DEFAULT: Duration = Duration::from_secs(1);

impl Original {
    /// Whether these bytes are a state of the original and not one of ours.
    pub fn is_ruby_state(bytes: &[u8]) -> bool {
        bytes.starts_with(STATE_PREFIX)
    }

    /// Reads a state.
    ///
    /// # Errors
    /// The document is malformed, or a field, which the message names, is invalid.
    pub fn read(bytes: &[u8]) -> Result<Original, String> {
        let document = yaml::parse(bytes)?;
        let root = Field::root(&document);
        let state = root.need("state")?;
        let mut notes = Vec::new();
        let mut unknown = root.unknown(&["state", "persistent_descriptors"])?;
        unknown.extend(state.unknown(STATE_KEYS)?);
        let (workers, passers) = worker::read_all(&state, &mut unknown, &mut notes)?;
        let descriptors = connection::read_all(&root.need("persistent_descriptors")?, &mut notes)?;
        let listeners = listeners(&state)?;
        let mut original = Original {
            workers,
            passers,
            options: options(&state, &mut unknown, &mut notes)?,
            listeners,
            command_server: descriptors.command_server,
            connections: descriptors.connections,
            ack_timers: descriptors.ack_timers,
            version: state.count("version")?,
            generation: state.count("generation")?,
            respawn: state.optional("respawn", Field::bool)?.unwrap_or(true),
            upgrading: state.flag("upgrading")?,
            smooth_upgrade: state.flag("smooth_upgrade")?,
            reloading_for_upgrade: is_reloading_for_upgrade(&state)?,
            early_death_count: state.count("consecutive_deaths_before_ack")?,
            last_spinup: state.optional("last_spinup", Field::time)?,
            last_upgraded: state.optional("last_upgraded", Field::time)?,
            notes,
        };
        if let Some(path) = state.get("path")? {
            original.notes.push(format!(
                "Its workers were forked from code that it had preloaded ({}); they go on, and \
                 their successors are started with exec",
                path.name()?
            ));
        }
        if !unknown.is_empty() {
            original.notes.push(format!("Left out, being unknown here: {}", unknown.join(", ")));
        }
        Ok(original)
    }

    /// The descriptor numbers, each with the name of its field.
    pub fn descriptors(&self) -> Vec<(i32, String)> {
        let server = (self.command_server, "the command server".to_owned());
        let listeners = self.listeners.iter().map(|l| (l.descriptor, l.place.clone()));
        let connections = self.connections.iter().map(|c| (c.descriptor, c.place.clone()));
        [server].into_iter().chain(listeners).chain(connections).collect()
    }

    /// The descriptor number of its command socket.
    pub fn command_socket(&self) -> i32 {
        self.command_server
    }

    /// The descriptor numbers of its clients' connections.
    pub fn clients(&self) -> impl Iterator<Item = i32> {
        self.connections.iter().map(|connection| connection.descriptor)
    }

    /// The requested ports of its listeners, with their descriptor numbers.
    pub fn ports(&self) -> impl Iterator<Item = (i32, u16)> {
        self.listeners.iter().filter_map(|listener| match listener.bind.address {
            Address::Tcp { port, .. } | Address::Udp { port, .. } => {
                Some((listener.descriptor, port))
            }
            Address::Unix { .. } => None,
        })
    }

    /// The pids of its workers, lowest first.
    pub fn workers(&self) -> impl Iterator<Item = i32> {
        self.workers.iter().map(|worker| worker.pid)
    }
}

/// The key had another name up to 0.8.
fn is_reloading_for_upgrade(state: &Field<'_>) -> Result<bool, String> {
    let older = state.flag("reloading_for_preload_upgrade")?;
    Ok(state.optional("reloading_for_upgrade", Field::bool)?.unwrap_or(older))
}

fn options(
    state: &Field<'_>,
    unknown: &mut Vec<String>,
    notes: &mut Notes,
) -> Result<Options, String> {
    let numbers = state.need("config")?;
    unknown.extend(numbers.unknown(KNOWN_NUMBERS)?);
    let command = state.need("cmd")?;
    let words = command.words()?;
    if words.is_empty() {
        return Err(command.wrong("is empty: there is no program"));
    }
    let nice = state.optional("nice", |field| nice(field, notes))?.unwrap_or_default();
    let mut at_most =
        |name: &str| numbers.optional(name, |field| field.nearest(1, WORKERS_MAX, notes));
    let (max_unacked, max_upgrade_additional) =
        (at_most("max_unacked")?, at_most("max_upgrade_additional")?);
    let list = |name| state.optional(name, Field::words);
    let number = numbers.optional("number", |field| field.whole(1, WORKERS_MAX))?;
    let backlog = numbers.optional("backlog", |field| backlog(field, notes))?;
    let seconds = numbers.optional("seconds", |field| pause(field, notes))?;
    let ack_mode = state.optional("ack_mode", |field| ack_mode(field, notes))?;
    let verbosity = state.optional("verbosity", |field| field.whole(0, 2).map(Verbosity))?;
    let config = Config {
        original_command: list("orig_cmd")?.unwrap_or_else(|| words.clone()),
        target: number.unwrap_or(1),
        backlog: backlog.unwrap_or(100),
        respawn_interval: seconds.unwrap_or(SECONDS_DEFAULT),
        ack_mode: ack_mode.unwrap_or(AckMode::Timer(SECONDS_DEFAULT)),
        signal_timeout: state.optional("signal_timeout", |field| field.seconds(notes))?,
        max_unacked,
        max_upgrade_additional,
        kill_children_on_exit: state.flag("kill_children_on_exit")?,
        command_socket_as_fd: state.flag("command_socket_as_fd")?,
        command_name: state.optional("cmd_name", |field| field.text().map(str::to_owned))?,
        nice,
        reexec_as: list("reexec_commandline")?.unwrap_or_default(),
        drop_env_vars: list("drop_environment_variables")?.unwrap_or_default(),
        verbosity: verbosity.unwrap_or(Verbosity::INFO),
        ..Config::new(words)
    };
    let path = |name| state.optional(name, Field::word);
    let (socket_path, pidfile) = (path("socket_path")?, path("pidfile")?);
    Ok(Options { config, socket_path, pidfile, lockfile: path("lockfile")? })
}

fn nice(field: &Field<'_>, notes: &mut Notes) -> Result<Nice, String> {
    let mut level = |name| field.optional(name, |field| field.nearest(-20, 19, notes));
    let (master, worker) = (level("master")?, level("worker")?);
    let command = field.optional("renice_cmd", Field::text)?;
    let command = command.filter(|command| *command != "/usr/bin/renice");
    let renice_command = command.map(|command| {
        // The original passes it to a shell.
        shell_words::split(command)
            .unwrap_or_else(|_| command.split_whitespace().map(str::to_owned).collect())
    });
    Ok(Nice { master, worker, renice_command })
}

/// The respawn interval; 0 or less means no delay in the original.
fn pause(field: &Field<'_>, notes: &mut Notes) -> Result<Duration, String> {
    let mut clamped = Notes::new();
    let seconds = field.seconds(&mut clamped)?;
    if !seconds.is_zero() {
        notes.append(&mut clamped);
        return Ok(seconds);
    }
    notes.push(field.wrong(format_args!(
        "is 0 or less, which would restart a broken program without a pause: it is {} now",
        SECONDS_DEFAULT.as_secs()
    )));
    Ok(SECONDS_DEFAULT)
}

/// The listen backlog; listen(2) treats a negative one as the maximum.
fn backlog(field: &Field<'_>, notes: &mut Notes) -> Result<u32, String> {
    let longest = i32::MAX.unsigned_abs();
    if field.nearest(i64::MIN, i64::MAX, &mut Notes::new())? >= 0 {
        return field.nearest(1, longest, notes);
    }
    notes.push(field.clamped("negative", longest));
    Ok(longest)
}

fn ack_mode(field: &Field<'_>, notes: &mut Notes) -> Result<AckMode, String> {
    let kind = field.need("type")?;
    match kind.name()? {
        "manual" => Ok(AckMode::Manual),
        "timer" => field.need("timeout")?.seconds(notes).map(AckMode::Timer),
        other => Err(kind.wrong(format_args!("must be :manual or :timer, not {other}"))),
    }
}

/// The listeners of `-b`, then those of `srv:` words.
fn listeners(state: &Field<'_>) -> Result<Vec<Listener>, String> {
    let items = |name| state.optional(name, Field::items);
    let binds = items("bind")?.unwrap_or_default();
    let numbers = items("bind_fds")?.unwrap_or_default();
    if binds.len() != numbers.len() {
        let (binds, numbers) = (binds.len(), numbers.len());
        return Err(state.wrong(format_args!(
            "has {binds} addresses in `:bind:` and {numbers} descriptors in `:bind_fds:`"
        )));
    }
    let words = state.optional("sockets", Field::pairs)?.unwrap_or_default();
    let given = binds.into_iter().zip(numbers).map(|pair| (pair, false));
    let read = |((bind, number), is_word): ((Field<'_>, Field<'_>), bool)| {
        Ok(Listener {
            bind: self::bind(&bind.items()?, &bind)?,
            is_word,
            descriptor: number.descriptor()?,
            place: number.path().to_owned(),
        })
    };
    given.chain(words.into_iter().map(|pair| (pair, true))).map(read).collect()
}

/// `[HOST, PORT, [OPTION…]]`, without the options for a `srv:` word; `[PATH, [OPTION…]]`.
fn bind(items: &[Field<'_>], whole: &Field<'_>) -> Result<Bind, String> {
    let wrong = || whole.wrong("must be a host, a port and a list of options");
    let (address, options) = match items {
        [path, options] if options.items().is_ok() => {
            let path = path.word()?.into();
            (Address::Unix { path, mode: None, owner: None, group: None }, Some(options))
        }
        [host, port, rest @ ..] if rest.len() <= 1 => {
            // The ports of `srv:` words are strings, as on the command line.
            let port = match port.bytes() {
                Ok(digits) => std::str::from_utf8(digits)
                    .ok()
                    .and_then(|digits| digits.parse().ok())
                    .ok_or_else(|| port.wrong("is no port"))?,
                Err(_) => port.whole(0, u16::MAX)?,
            };
            (Address::Tcp { host: host.text()?.to_owned(), port }, rest.first())
        }
        _ => return Err(wrong()),
    };
    let names = options.map_or(Ok(Vec::new()), Field::items)?;
    let names = names.iter().map(Field::name).collect::<Result<Vec<_>, _>>()?;
    let has = |short: &str, long: &str| names.iter().any(|name| *name == short || *name == long);
    Ok(Bind {
        address,
        options: ListenerOptions {
            reuse_address: has("r", "so_reuseaddr"),
            nonblocking: has("n", "o_nonblock"),
            v6only: false,
        },
    })
}
