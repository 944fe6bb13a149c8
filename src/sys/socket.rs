//! Sockets: bound, listening, close-on-exec from birth.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrLike, SockaddrStorage, UnixAddr, accept4, bind,
    connect, getsockname, getsockopt, setsockopt, socket, sockopt,
};
use nix::sys::stat::{Mode, fchmod};

use crate::sys::descriptor::borrow;

/// How an internet socket is to be bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InetOptions {
    /// `SO_REUSEADDR`.
    pub reuse_address: bool,
    /// `IPV6_V6ONLY`; set to the opposite when false, whatever the system's default is.
    pub v6only: bool,
    /// Datagrams instead of a stream.
    pub datagrams: bool,
}

/// Binds an internet socket; it does not listen yet.
///
/// # Errors
/// Those of socket(2), setsockopt(2) and bind(2).
pub fn bind_inet(address: SocketAddr, options: InetOptions) -> io::Result<OwnedFd> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    let kind = if options.datagrams { SockType::Datagram } else { SockType::Stream };
    let socket = socket(family, kind, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&socket, sockopt::ReuseAddr, &options.reuse_address)?;
    if address.is_ipv6() {
        setsockopt(&socket, sockopt::Ipv6V6Only, &options.v6only)?;
    }
    bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    Ok(socket)
}

/// Binds a UNIX stream socket to a path with these permissions from its first instant; it does not
/// listen yet. The umask is taken off `mode`, as everywhere.
///
/// # Errors
/// Those of socket(2) and bind(2).
pub fn bind_unix(path: &Path, mode: u32) -> io::Result<OwnedFd> {
    let address = UnixAddr::new(path)?;
    let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    // Linux makes the file with the mode of the unbound socket.
    fchmod(&socket, Mode::from_bits_truncate(mode))?;
    bind(socket.as_raw_fd(), &address)?;
    Ok(socket)
}

/// Gives a socket file exactly these permissions, umask or not.
///
/// # Errors
/// Those of chmod(2).
pub fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
}

/// Makes a bound stream socket listen.
///
/// # Errors
/// Those of listen(2).
pub fn start_listening(socket: impl AsFd, backlog: u32) -> io::Result<()> {
    let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
    // SAFETY: listen touches no memory.
    let answer = unsafe { libc::listen(socket.as_fd().as_raw_fd(), backlog) };
    Ok(Errno::result(answer).map(drop)?)
}

/// The port that an internet socket is bound to.
///
/// # Errors
/// Those of getsockname(2).
pub fn port(socket: impl AsFd) -> io::Result<Option<u16>> {
    let address: SockaddrStorage = getsockname(socket.as_fd().as_raw_fd())?;
    let v4 = address.as_sockaddr_in().map(|address| address.port());
    Ok(v4.or(address.as_sockaddr_in6().map(|address| address.port())))
}

/// Makes operations on a socket return instead of wait, for everyone who shares it.
///
/// # Errors
/// Those of fcntl(2).
pub fn set_nonblocking(socket: BorrowedFd<'_>) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(socket, FcntlArg::F_GETFL)?);
    fcntl(socket, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

/// What answers at the path of a UNIX socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listening {
    /// Somebody accepts connections.
    Live,
    /// A socket file that nobody serves any more.
    Stale,
    /// Nothing has this name.
    Absent,
}

/// Asks a UNIX stream socket whether somebody listens, without waiting.
///
/// # Errors
/// Those of socket(2), and of connect(2) where they do not answer the question.
pub fn probe_unix(path: &Path) -> io::Result<Listening> {
    let address = UnixAddr::new(path)?;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    match connect(socket.as_raw_fd(), &address) {
        // EAGAIN: its queue is full.
        Ok(()) | Err(Errno::EAGAIN) => Ok(Listening::Live),
        Err(Errno::ECONNREFUSED) => Ok(Listening::Stale),
        Err(Errno::ENOENT) => Ok(Listening::Absent),
        Err(errno) => Err(errno.into()),
    }
}

/// Whether a connection waits to be accepted.
pub fn is_awaited(listener: impl AsFd) -> bool {
    let mut asked = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
    poll(&mut asked, PollTimeout::ZERO).is_ok_and(|count| count > 0)
}

/// Takes the next connection of a listener, non-blocking; `None` when there is none.
///
/// # Errors
/// Those of accept(2) that are not about the one connection, such as EMFILE.
pub fn accept(listener: impl AsFd) -> io::Result<Option<UnixStream>> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    loop {
        match accept4(listener.as_fd().as_raw_fd(), flags) {
            // SAFETY: accept4 has just made this descriptor and nobody else knows of it.
            Ok(number) => unsafe {
                return Ok(Some(std::os::fd::FromRawFd::from_raw_fd(number)));
            },
            Err(Errno::EAGAIN) => return Ok(None),
            Err(Errno::EINTR | Errno::ECONNABORTED) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Who is at the other end of a UNIX connection: pid and user id, as of its connect(2).
///
/// # Errors
/// Those of getsockopt(2).
pub fn peer(connection: impl AsFd) -> io::Result<(i32, u32)> {
    let credentials = getsockopt(&connection, sockopt::PeerCredentials)?;
    Ok((credentials.pid(), credentials.uid()))
}

/// What kind of socket is open under a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    /// `SO_DOMAIN`, where it is one that listeners have.
    pub domain: Option<Domain>,
    /// Whether it is of `SOCK_STREAM`.
    pub is_stream: bool,
    /// The port that it is bound to.
    pub port: Option<u16>,
    /// The path that it is bound to.
    pub path: Option<PathBuf>,
    /// The pid of the other end of a UNIX connection, as of its connect(2).
    pub peer: Option<i32>,
}

/// A family of sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// `AF_INET`.
    Inet,
    /// `AF_INET6`.
    Inet6,
    /// `AF_UNIX`.
    Unix,
}

/// Looks at a socket; `None` when the number is none's.
pub fn kind(number: RawFd) -> Option<Kind> {
    let socket = borrow(number);
    let address: SockaddrStorage = getsockname(number).ok()?;
    let domain = match address.family() {
        Some(AddressFamily::Inet) => Some(Domain::Inet),
        Some(AddressFamily::Inet6) => Some(Domain::Inet6),
        Some(AddressFamily::Unix) => Some(Domain::Unix),
        _ => None,
    };
    let peer = match domain {
        Some(Domain::Unix) => peer(socket).ok().map(|(pid, _)| pid),
        _ => None,
    };
    Some(Kind {
        domain,
        is_stream: getsockopt(&socket, sockopt::SockType).ok()? == SockType::Stream,
        port: port(socket).ok().flatten(),
        path: address.as_unix_addr().and_then(UnixAddr::path).map(Path::to_owned),
        peer,
    })
}

/// The largest backlog that the kernel grants, where it says so.
pub fn backlog_max() -> Option<u32> {
    std::fs::read_to_string("/proc/sys/net/core/somaxconn").ok()?.trim().parse().ok()
}
