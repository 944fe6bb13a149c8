//! What the operator asked for, and the listeners that came of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::schema::codec::{Bytes, Text, list, nanos};
use crate::schema::v2;
use crate::state;

/// The options, defaults filled in.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::schema) struct Config {
    pub original_command: Vec<Bytes>,
    pub command: Vec<Bytes>,
    pub target: u32,
    pub backlog: u32,
    pub respawn_interval_ns: u64,
    pub ack_mode: AckMode,
    pub signal_timeout_ns: Option<u64>,
    pub max_unacked: Option<u32>,
    pub max_upgrade_additional: Option<u32>,
    pub retries: Option<u32>,
    pub kill_children_on_exit: bool,
    pub command_socket_as_fd: bool,
    pub command_name: Option<Text>,
    pub socket_path: Bytes,
    pub pidfile: Bytes,
    pub lockfile: Bytes,
    pub nice: Nice,
    pub reexec_as: Vec<Bytes>,
    pub drop_env_vars: Vec<Bytes>,
    pub verbosity: u8,
    pub syslog: bool,
}

/// How a worker comes to count as up.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::schema) enum AckMode {
    Manual,
    Timer { after_ns: u64 },
}

/// `--nice`.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::schema) struct Nice {
    pub master: Option<i32>,
    pub worker: Option<i32>,
    pub renice_command: Option<Vec<Text>>,
}

/// A bound listener.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::schema) struct Listener {
    pub address: Address,
    pub options: ListenerOptions,
    pub asked_by: AskedBy,
    pub descriptor: i32,
    pub family: Family,
    pub port: Option<u16>,
}

/// Where a listener is bound.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::schema) enum Address {
    Tcp { host: Text, port: u16 },
    Udp { host: Text, port: u16 },
    Unix { path: Bytes, mode: Option<u32>, owner: Option<Text>, group: Option<Text> },
}

/// How it is bound.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::schema) struct ListenerOptions {
    pub reuse_address: bool,
    pub nonblocking: bool,
    pub v6only: bool,
}

/// Who asked for a listener.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::schema) enum AskedBy {
    Option,
    Word,
}

/// Which family its socket is of.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::schema) enum Family {
    Inet,
    Inet6,
    Unix,
}

impl From<&state::Config> for Config {
    fn from(config: &state::Config) -> Config {
        let state::Config {
            original_command,
            command,
            target,
            backlog,
            respawn_interval,
            ack_mode,
            signal_timeout,
            max_unacked,
            max_upgrade_additional,
            retries,
            kill_children_on_exit,
            command_socket_as_fd,
            command_name,
            socket_path,
            pidfile,
            lockfile,
            nice,
            reexec_as,
            drop_env_vars,
            verbosity,
            syslog,
            capture_stderr: _, // versions after this one carry it
            reexec_mode: _,
            rollout: _,
            chdir: _,
            env_file: _,
            metrics_file: _,
        } = config;
        Config {
            original_command: list(original_command),
            command: list(command),
            target: *target,
            backlog: *backlog,
            respawn_interval_ns: nanos(*respawn_interval),
            ack_mode: match ack_mode {
                state::AckMode::Manual => AckMode::Manual,
                state::AckMode::Timer(after) => AckMode::Timer { after_ns: nanos(*after) },
            },
            signal_timeout_ns: signal_timeout.map(nanos),
            max_unacked: *max_unacked,
            max_upgrade_additional: *max_upgrade_additional,
            retries: *retries,
            kill_children_on_exit: *kill_children_on_exit,
            command_socket_as_fd: *command_socket_as_fd,
            command_name: command_name.as_ref().map(Text::from),
            socket_path: socket_path.into(),
            pidfile: pidfile.into(),
            lockfile: lockfile.into(),
            nice: nice.into(),
            reexec_as: list(reexec_as),
            drop_env_vars: list(drop_env_vars),
            verbosity: verbosity.0,
            syslog: *syslog,
        }
    }
}

impl From<Config> for state::Config {
    fn from(wire: Config) -> state::Config {
        let Config {
            original_command,
            command,
            target,
            backlog,
            respawn_interval_ns,
            ack_mode,
            signal_timeout_ns,
            max_unacked,
            max_upgrade_additional,
            retries,
            kill_children_on_exit,
            command_socket_as_fd,
            command_name,
            socket_path,
            pidfile,
            lockfile,
            nice,
            reexec_as,
            drop_env_vars,
            verbosity,
            syslog,
        } = wire;
        state::Config {
            original_command: list(original_command),
            command: list(command),
            target,
            backlog,
            respawn_interval: Duration::from_nanos(respawn_interval_ns),
            ack_mode: match ack_mode {
                AckMode::Manual => state::AckMode::Manual,
                AckMode::Timer { after_ns } => {
                    state::AckMode::Timer(Duration::from_nanos(after_ns))
                }
            },
            signal_timeout: signal_timeout_ns.map(Duration::from_nanos),
            max_unacked,
            max_upgrade_additional,
            retries,
            kill_children_on_exit,
            command_socket_as_fd,
            command_name: command_name.map(String::from),
            socket_path: socket_path.into(),
            pidfile: pidfile.into(),
            lockfile: lockfile.into(),
            nice: nice.into(),
            reexec_as: list(reexec_as),
            drop_env_vars: list(drop_env_vars),
            verbosity: state::Verbosity(verbosity),
            syslog,
            capture_stderr: false,
            reexec_mode: state::ReexecMode::Exec,
            rollout: state::RolloutBounds::default(),
            chdir: None,
            env_file: None,
            metrics_file: None,
        }
    }
}

impl From<Config> for v2::Config {
    fn from(first: Config) -> v2::Config {
        v2::Config {
            first,
            reexec_mode: v2::ReexecMode::Exec,
            rollout: v2::RolloutBounds::default(),
            chdir: None,
            env_file: None,
            metrics_file: None,
            capture_stderr: false,
        }
    }
}

impl From<&state::Nice> for Nice {
    fn from(nice: &state::Nice) -> Nice {
        let state::Nice { master, worker, renice_command } = nice;
        let renice_command = renice_command.as_ref().map(list);
        Nice { master: *master, worker: *worker, renice_command }
    }
}

impl From<Nice> for state::Nice {
    fn from(wire: Nice) -> state::Nice {
        let Nice { master, worker, renice_command } = wire;
        state::Nice { master, worker, renice_command: renice_command.map(list) }
    }
}

impl From<&state::Listener> for Listener {
    fn from(listener: &state::Listener) -> Listener {
        let state::Listener { bind, origin, descriptor, family, port } = listener;
        let state::Bind { address, options } = bind;
        let state::ListenerOptions { reuse_address, nonblocking, v6only } = *options;
        Listener {
            address: address.into(),
            options: ListenerOptions { reuse_address, nonblocking, v6only },
            asked_by: match origin {
                state::Origin::Option => AskedBy::Option,
                state::Origin::Word => AskedBy::Word,
            },
            descriptor: *descriptor,
            family: match family {
                state::Family::Inet => Family::Inet,
                state::Family::Inet6 => Family::Inet6,
                state::Family::Unix => Family::Unix,
            },
            port: *port,
        }
    }
}

impl From<Listener> for state::Listener {
    fn from(wire: Listener) -> state::Listener {
        let Listener { address, options, asked_by, descriptor, family, port } = wire;
        let ListenerOptions { reuse_address, nonblocking, v6only } = options;
        let options = state::ListenerOptions { reuse_address, nonblocking, v6only };
        state::Listener {
            bind: state::Bind { address: address.into(), options },
            origin: match asked_by {
                AskedBy::Option => state::Origin::Option,
                AskedBy::Word => state::Origin::Word,
            },
            descriptor,
            family: match family {
                Family::Inet => state::Family::Inet,
                Family::Inet6 => state::Family::Inet6,
                Family::Unix => state::Family::Unix,
            },
            port,
        }
    }
}

impl From<&state::Address> for Address {
    fn from(address: &state::Address) -> Address {
        match address {
            state::Address::Tcp { host, port } => Address::Tcp { host: host.into(), port: *port },
            state::Address::Udp { host, port } => Address::Udp { host: host.into(), port: *port },
            state::Address::Unix { path, mode, owner, group } => Address::Unix {
                path: path.into(),
                mode: *mode,
                owner: owner.as_ref().map(Text::from),
                group: group.as_ref().map(Text::from),
            },
        }
    }
}

impl From<Address> for state::Address {
    fn from(wire: Address) -> state::Address {
        match wire {
            Address::Tcp { host, port } => state::Address::Tcp { host: host.into(), port },
            Address::Udp { host, port } => state::Address::Udp { host: host.into(), port },
            Address::Unix { path, mode, owner, group } => state::Address::Unix {
                path: path.into(),
                mode,
                owner: owner.map(String::from),
                group: group.map(String::from),
            },
        }
    }
}
