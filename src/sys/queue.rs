//! The receive queue of a listener, as ss(8) shows it.

use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket,
};

use crate::sys::descriptor;

/// The depth of a queue, and its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Connections not accepted yet, or bytes of memory used by unread datagrams.
    pub depth: u32,
    /// The limit of the same; for connections, the kernel allows one more.
    pub limit: u32,
}

/// TCP's state of a listening socket; see `net/tcp_states.h` of Linux.
const TCP_LISTEN: u8 = 10;

/// The places of `tcpi_unacked` and `tcpi_sacked` in `tcp_info` of `linux/tcp.h`, in words of four
/// bytes: for a listening socket, the queue's depth and limit.
const TCP_INFO_UNACKED: usize = 6;
const TCP_INFO_SACKED: usize = 7;

/// `SK_MEMINFO_RMEM_ALLOC` and `SK_MEMINFO_RCVBUF` of `linux/sock_diag.h`.
const MEMINFO_RECEIVED: usize = 0;
const MEMINFO_RECEIVED_MAX: usize = 1;

/// The accept queue of a TCP listener.
///
/// # Errors
/// Those of getsockopt(2); EINVAL if the socket does not listen.
pub fn of_tcp(listener: BorrowedFd<'_>) -> io::Result<Queue> {
    let info: [u32; 8] = option(listener, libc::IPPROTO_TCP, libc::TCP_INFO)?;
    match info[0].to_ne_bytes()[0] {
        TCP_LISTEN => Ok(Queue { depth: info[TCP_INFO_UNACKED], limit: info[TCP_INFO_SACKED] }),
        _ => Err(Errno::EINVAL.into()),
    }
}

/// The receive queue of a UDP socket; a datagram takes more memory than its length.
///
/// # Errors
/// Those of getsockopt(2).
pub fn of_udp(listener: BorrowedFd<'_>) -> io::Result<Queue> {
    let memory: [u32; 2] = option(listener, libc::SOL_SOCKET, libc::SO_MEMINFO)?;
    Ok(Queue { depth: memory[MEMINFO_RECEIVED], limit: memory[MEMINFO_RECEIVED_MAX] })
}

/// The first words of a socket option, which must have at least as many.
fn option<const WORDS: usize>(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
) -> io::Result<[u32; WORDS]> {
    let mut value = [0u32; WORDS];
    let mut size = libc::socklen_t::try_from(size_of_val(&value)).unwrap_or(0);
    // SAFETY: the kernel writes at most `size` bytes to `value`, which has them.
    let answer = unsafe {
        libc::getsockopt(socket.as_raw_fd(), level, name, value.as_mut_ptr().cast(), &mut size)
    };
    Errno::result(answer)?;
    match usize::try_from(size) {
        Ok(size) if size == size_of_val(&value) => Ok(value),
        _ => Err(ErrorKind::UnexpectedEof.into()),
    }
}

/// `SOCK_DIAG_BY_FAMILY` and `UDIAG_SHOW_RQLEN` with its answer `UNIX_DIAG_RQLEN`; see
/// sock_diag(7).
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const UDIAG_SHOW_RQLEN: u32 = 0x10;
const UNIX_DIAG_RQLEN: u16 = 4;

/// The sizes of `nlmsghdr` and `unix_diag_msg`, which precede the attributes of a reply.
const HEADER_BYTES: usize = 16;
const UNIX_DIAG_BYTES: usize = 16;

/// The accept queue of a UNIX stream listener.
///
/// # Errors
/// Those of socket(2), send(2) and recv(2), and errors that sock_diag(7) replies: ENOENT for a
/// socket of another network namespace.
pub fn of_unix(listener: BorrowedFd<'_>) -> io::Result<Queue> {
    // sock_diag(7) takes the lower 32 bits of the inode.
    let inode = descriptor::identity(listener.as_raw_fd())?.inode as u32;
    let netlink = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkSockDiag,
    )?;
    // Neither call blocks: the reply is there when send(2) returns.
    send(netlink.as_raw_fd(), &unix_request(inode), MsgFlags::MSG_DONTWAIT)?;
    let mut answer = [0; 256];
    let length = recv(netlink.as_raw_fd(), &mut answer, MsgFlags::MSG_DONTWAIT)?;
    unix_answer(&answer[..length])
}

/// `nlmsghdr` and `unix_diag_req`: the queue of one socket by inode, with any cookie.
fn unix_request(inode: u32) -> Vec<u8> {
    const ANY: u32 = u32::MAX;
    let family = u32::from_ne_bytes([libc::AF_UNIX as u8, 0, 0, 0]);
    let body = [family, ANY, inode, UDIAG_SHOW_RQLEN, ANY, ANY];
    let length = u32::try_from(HEADER_BYTES + size_of_val(&body)).unwrap_or(0);
    let flags = libc::NLM_F_REQUEST as u16;
    let mut request = length.to_ne_bytes().to_vec();
    request.extend([SOCK_DIAG_BY_FAMILY.to_ne_bytes(), flags.to_ne_bytes()].concat());
    // Sequence number and port id, which are not needed for a single request.
    request.extend([0; 8]);
    request.extend(body.iter().flat_map(|word| word.to_ne_bytes()));
    request
}

fn unix_answer(answer: &[u8]) -> io::Result<Queue> {
    let short = || io::Error::from(ErrorKind::UnexpectedEof);
    let half = |at: usize| Some(u16::from_ne_bytes(answer.get(at..at + 2)?.try_into().ok()?));
    let word = |at: usize| Some(u32::from_ne_bytes(answer.get(at..at + 4)?.try_into().ok()?));
    if half(4).ok_or_else(short)? != SOCK_DIAG_BY_FAMILY {
        // NLMSG_ERROR: a negative errno follows the header.
        let errno = word(HEADER_BYTES).ok_or_else(short)? as i32;
        return Err(io::Error::from_raw_os_error(errno.saturating_neg()));
    }
    let mut at = HEADER_BYTES + UNIX_DIAG_BYTES;
    while let (Some(length), Some(kind)) = (half(at), half(at + 2)) {
        if kind == UNIX_DIAG_RQLEN {
            let queue = word(at + 4).zip(word(at + 8)).ok_or_else(short)?;
            return Ok(Queue { depth: queue.0, limit: queue.1 });
        }
        // Attributes are aligned to four bytes, and at least as long as their header.
        at += usize::from(length).next_multiple_of(4).max(4);
    }
    Err(short())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::fd::AsFd;
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;
    use crate::sys::socket::start_listening;

    #[test]
    fn waiting_connections_are_counted() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let unix = UnixListener::bind(&path).unwrap();
        start_listening(&tcp, 7).unwrap();
        start_listening(&unix, 9).unwrap();
        let mut waiting: Vec<(TcpStream, UnixStream)> = Vec::new();
        for depth in 0..=7 {
            assert_eq!(of_tcp(tcp.as_fd()).unwrap(), Queue { depth, limit: 7 });
            assert_eq!(of_unix(unix.as_fd()).unwrap(), Queue { depth, limit: 9 });
            let client = TcpStream::connect(address).unwrap();
            waiting.push((client, UnixStream::connect(&path).unwrap()));
        }
        drop(tcp.accept().unwrap());
        assert_eq!(of_tcp(tcp.as_fd()).unwrap(), Queue { depth: 7, limit: 7 });
    }

    #[test]
    fn waiting_datagrams_take_memory() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let empty = of_udp(socket.as_fd()).unwrap();
        assert_eq!(empty.depth, 0);
        assert!(empty.limit > 0);
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.send_to(&[0; 1000], socket.local_addr().unwrap()).unwrap();
        assert!(of_udp(socket.as_fd()).unwrap().depth >= 1000);
        socket.recv(&mut [0; 1000]).unwrap();
        assert_eq!(of_udp(socket.as_fd()).unwrap(), empty);
    }

    #[test]
    fn a_socket_that_does_not_listen_has_no_queue() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(tcp.local_addr().unwrap()).unwrap();
        assert!(of_tcp(client.as_fd()).is_err());
        assert_eq!(of_unix(tcp.as_fd()).unwrap_err().kind(), ErrorKind::NotFound);
    }
}
