//! Listeners: the requested address and the bound descriptor.

use std::fmt;
use std::path::PathBuf;

/// Options after an address: `127.0.0.1:80,r,n`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListenerOptions {
    /// `r`, `so_reuseaddr`: SO_REUSEADDR. TCP listeners always have it; on UDP it lets several
    /// sockets share the address, so it must be requested there.
    pub reuse_address: bool,
    /// `n`, `o_nonblock`: accept(2) on the listener does not block.
    pub nonblocking: bool,
    /// `v6only`: an IPv6 listener that accepts no IPv4 connections.
    pub v6only: bool,
}

/// The address to bind a listener to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `HOST:PORT`, `[IPv6]:PORT`.
    Tcp {
        /// A name or an address, without brackets.
        host: String,
        /// 0 binds a free one.
        port: u16,
    },
    /// `udp:HOST:PORT`.
    Udp {
        /// A name or an address, without brackets.
        host: String,
        /// 0 binds a free one.
        port: u16,
    },
    /// `unix:PATH[,mode=0660][,owner=USER][,group=GROUP]`.
    Unix {
        /// The socket file.
        path: PathBuf,
        /// Its permissions; 0666 minus the umask when absent.
        mode: Option<u32>,
        /// Its owner, by name or number.
        owner: Option<String>,
        /// Its group, by name or number.
        group: Option<String>,
    },
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host_port = |host: &str, port: u16| match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        };
        match self {
            Address::Tcp { host, port } => out.write_str(&host_port(host, *port)),
            Address::Udp { host, port } => write!(out, "udp:{}", host_port(host, *port)),
            Address::Unix { path, .. } => write!(out, "unix:{}", path.display()),
        }
    }
}

/// An address with its options, as `-b` or a `srv:` word gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    /// The address.
    pub address: Address,
    /// The options.
    pub options: ListenerOptions,
}

/// The address family of a listener, for `EINHORN_FD_FAMILY_n`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// `AF_INET`.
    Inet,
    /// `AF_INET6`.
    Inet6,
    /// `AF_UNIX`.
    Unix,
}

impl Family {
    /// The name of the constant.
    pub fn name(self) -> &'static str {
        match self {
            Family::Inet => "AF_INET",
            Family::Inet6 => "AF_INET6",
            Family::Unix => "AF_UNIX",
        }
    }
}

/// How a listener was requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoundBy {
    /// By `-b`: passed to workers in `EINHORN_FD_n`.
    Option,
    /// By a `srv:` word, which is replaced by the descriptor number in the program's arguments.
    Word,
}

/// A bound listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The requested address and options.
    pub bind: Bind,
    /// How it was requested.
    pub bound_by: BoundBy,
    /// The descriptor number, the same for the life of the master and in every worker.
    pub descriptor: i32,
    /// The address family of the bound socket.
    pub family: Family,
    /// The bound port; `None` for UNIX sockets.
    pub port: Option<u16>,
}

impl Listener {
    /// `SOCK_STREAM` or `SOCK_DGRAM`, for `EINHORN_FD_TYPE_n`.
    pub fn socket_type_name(&self) -> &'static str {
        match self.bind.address {
            Address::Udp { .. } => "SOCK_DGRAM",
            Address::Tcp { .. } | Address::Unix { .. } => "SOCK_STREAM",
        }
    }
}
