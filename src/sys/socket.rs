//! Sockets: binding, listening, accepting; close-on-exec from creation.

use std::fs::Permissions;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
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
use nix::sys::stat::{Mode, fchmod, fstat};

use crate::sys::descriptor::borrow;
use crate::sys::trusted_path::{Entry, is_own_with_one_link, is_socket_file, proc_path};
use crate::sys::user;

/// Options for binding an internet socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InetOptions {
    /// `SO_REUSEADDR`.
    pub reuse_address: bool,
    /// `IPV6_V6ONLY`; always set, whatever the system's default is.
    pub v6only: bool,
    /// `SOCK_DGRAM` instead of `SOCK_STREAM`.
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

/// Binds a UNIX stream socket to a path; it does not listen yet, so no client can connect. Its file
/// has the permissions of `mode`, minus the umask, from its creation.
///
/// # Errors
/// Those of socket(2) and bind(2).
pub fn bind_unix(path: &Path, mode: u32) -> io::Result<OwnedFd> {
    let address = UnixAddr::new(path)?;
    let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    // Linux creates the file with the mode of the unbound socket.
    fchmod(&socket, Mode::from_bits_truncate(mode))?;
    bind(socket.as_raw_fd(), &address)?;
    Ok(socket)
}

/// Opens the file of a socket just bound to an entry, with `O_PATH`. Where the kernel does not tell
/// which file that is, another socket may have taken the name.
///
/// # Errors
/// Another file has taken the name; those of openat(2) and fstat(2).
pub fn file_of(bound: &OwnedFd, entry: &Entry) -> io::Result<OwnedFd> {
    let named = entry.open_path()?.ok_or_else(replaced)?;
    let is_it = match own_file(bound) {
        Some(own) => numbers(&own)? == numbers(&named)?,
        None => is_socket_file(&named)?,
    };
    if is_it { Ok(named) } else { Err(replaced()) }
}

/// Sets exactly these permissions on the file of a socket that does not listen yet; `path` is its
/// path.
///
/// # Errors
/// The file may not be the socket's; those of chmod(2), by a name in `/proc` that cannot be
/// replaced.
pub fn set_mode(file: &OwnedFd, path: &Path, mode: u32) -> io::Result<()> {
    if fstat(file)?.st_mode & 0o7777 == mode {
        return Ok(());
    }
    refuse_replaced(file, path)?;
    std::fs::set_permissions(proc_path(file), Permissions::from_mode(mode))
}

/// Changes the owner of the file of a socket that does not listen yet; `None` leaves one as it is.
/// `path` is its path.
///
/// # Errors
/// The file may not be the socket's; those of fchownat(2).
pub fn chown(file: &OwnedFd, path: &Path, user: Option<u32>, group: Option<u32>) -> io::Result<()> {
    if user.is_none() && group.is_none() {
        return Ok(());
    }
    refuse_replaced(file, path)?;
    user::chown(file, user, group)
}

/// Refuses a file that cannot be a socket just bound: another user's, one with several links, or
/// one with a listener, as this user's other sockets have.
fn refuse_replaced(file: &OwnedFd, path: &Path) -> io::Result<()> {
    match is_own_with_one_link(file)? && !has_listener(file, path)? {
        true => Ok(()),
        false => Err(replaced()),
    }
}

fn replaced() -> io::Error {
    io::Error::other("something else took its name while it was bound")
}

fn numbers(file: &OwnedFd) -> io::Result<(u64, u64)> {
    let found = fstat(file)?;
    Ok((found.st_dev, found.st_ino))
}

/// The file that a UNIX socket is bound to, whatever has its name now; `None` where the kernel does
/// not tell: it requires CAP_NET_ADMIN.
fn own_file(bound: &OwnedFd) -> Option<OwnedFd> {
    // SAFETY: SIOCUNIXFILE touches no memory, and returns a new close-on-exec descriptor that
    // nothing else owns.
    unsafe {
        let number = libc::ioctl(bound.as_raw_fd(), SIOCUNIXFILE);
        Errno::result(number).ok().map(|number| OwnedFd::from_raw_fd(number))
    }
}

/// `SIOCUNIXFILE` of linux/un.h, `SIOCPROTOPRIVATE + 0`; Linux 4.15 and later.
const SIOCUNIXFILE: libc::Ioctl = 0x89E0;

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

/// Makes a socket non-blocking, for every process that shares its open file description.
///
/// # Errors
/// Those of fcntl(2).
pub fn set_nonblocking(socket: BorrowedFd<'_>) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(socket, FcntlArg::F_GETFL)?);
    fcntl(socket, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

/// Whether a process listens on a UNIX stream socket, by a non-blocking connect(2). `file` is its
/// file, opened with `O_PATH`; `path` is used where there is no `/proc`.
///
/// # Errors
/// Those of socket(2), and of connect(2) that do not answer the question.
pub fn has_listener(file: &OwnedFd, path: &Path) -> io::Result<bool> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    let by = |path: &Path| connect(socket.as_raw_fd(), &UnixAddr::new(path)?);
    let answer = match by(&proc_path(file)) {
        Err(Errno::ENOENT) => by(path),
        answer => answer,
    };
    match answer {
        // EAGAIN: its backlog is full.
        Ok(()) | Err(Errno::EAGAIN) => Ok(true),
        Err(Errno::ECONNREFUSED | Errno::ENOENT) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Whether a connection is waiting to be accepted.
pub fn has_pending_connection(listener: impl AsFd) -> bool {
    let mut fds = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO).is_ok_and(|count| count > 0)
}

/// Accepts a connection, non-blocking; `None` when none is waiting.
///
/// # Errors
/// Those of accept(2) that do not concern a single connection, such as EMFILE.
pub fn accept(listener: impl AsFd) -> io::Result<Option<UnixStream>> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    loop {
        match accept4(listener.as_fd().as_raw_fd(), flags) {
            // SAFETY: accept4 has just created this descriptor, and nothing else owns it.
            Ok(number) => unsafe {
                return Ok(Some(UnixStream::from_raw_fd(number)));
            },
            Err(Errno::EAGAIN) => return Ok(None),
            Err(Errno::EINTR | Errno::ECONNABORTED) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// The peer's pid and user id of a UNIX connection, as of its connect(2).
///
/// # Errors
/// Those of getsockopt(2).
pub fn peer(connection: impl AsFd) -> io::Result<(i32, u32)> {
    let credentials = getsockopt(&connection, sockopt::PeerCredentials)?;
    Ok((credentials.pid(), credentials.uid()))
}

/// What kind of socket a descriptor is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    /// `SO_DOMAIN`, if it is one that listeners can have.
    pub domain: Option<Domain>,
    /// Whether it is a `SOCK_STREAM`.
    pub is_stream: bool,
    /// The port that it is bound to.
    pub port: Option<u16>,
    /// The path that it is bound to.
    pub path: Option<PathBuf>,
    /// The peer's pid of a UNIX connection, as of its connect(2).
    pub peer: Option<i32>,
}

/// A socket's address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// `AF_INET`.
    Inet,
    /// `AF_INET6`.
    Inet6,
    /// `AF_UNIX`.
    Unix,
}

/// Inspects a socket; `None` if the descriptor is not one.
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

/// The largest backlog that the kernel allows, where it says so.
pub fn backlog_max() -> Option<u32> {
    std::fs::read_to_string("/proc/sys/net/core/somaxconn").ok()?.trim().parse().ok()
}
