//! A listener: the address that was asked for and the descriptor that serves it.

use std::fmt;
use std::path::PathBuf;

/// Options after an address: `127.0.0.1:80,r,n`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListenerOptions {
    /// `r`, `so_reuseaddr`. TCP listeners are bound with it always; on UDP it lets several sockets
    /// share the address, so there it must be asked for.
    pub reuse_address: bool,
    /// `n`, `o_nonblock`: accepts on the listener do not block.
    pub nonblocking: bool,
    /// `v6only`: an IPv6 listener that takes no IPv4.
    pub v6only: bool,
}

/// What a listener was asked to be.
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
        /// Its permissions; 0666 less the umask when absent.
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
    /// Where.
    pub address: Address,
    /// How.
    pub options: ListenerOptions,
}

/// Which socket family serves a listener, for `EINHORN_FD_FAMILY_n`.
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
    /// The constant's name.
    pub fn name(self) -> &'static str {
        match self {
            Family::Inet => "AF_INET",
            Family::Inet6 => "AF_INET6",
            Family::Unix => "AF_UNIX",
        }
    }
}

/// Who asked for a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoundBy {
    /// `-b`: announced to workers as `EINHORN_FD_n`.
    Option,
    /// A `srv:` word: its descriptor number stands in the program's arguments.
    Word,
}

/// A bound listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// What was asked for.
    pub bind: Bind,
    /// By whom.
    pub bound_by: BoundBy,
    /// The descriptor's number, the same for the life of the master and in every worker.
    pub descriptor: i32,
    /// What the kernel made of it.
    pub family: Family,
    /// The port that was bound; `None` for UNIX sockets.
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
