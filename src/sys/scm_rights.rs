//! Passing descriptors between processes: `SCM_RIGHTS` of unix(7).

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, getsockopt,
    recvmsg, sendmsg, socketpair, sockopt,
};

use crate::sys::{descriptor, socket};

/// The most descriptors in a message, `SCM_MAX_FD` of unix(7): with room for all, none can leak.
const DESCRIPTORS_MAX: usize = 253;

/// A non-blocking, close-on-exec pair of sockets that preserves message boundaries.
///
/// # Errors
/// Those of socketpair(2).
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    Ok(socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?)
}

/// Whether a descriptor is an end of a [`pair`] that process `creator` created.
pub fn is_end_created_by(number: RawFd, creator: i32) -> bool {
    let end = descriptor::borrow(number);
    getsockopt(&end, sockopt::SockType).is_ok_and(|kind| kind == SockType::SeqPacket)
        && socket::peer(end).is_ok_and(|(pid, _)| pid == creator)
}

/// Sends a message, and descriptors with it.
///
/// # Errors
/// Those of sendmsg(2).
pub fn send(end: RawFd, message: &[u8], descriptors: &[RawFd]) -> io::Result<()> {
    let rights = [ControlMessage::ScmRights(descriptors)];
    let rights = if descriptors.is_empty() { &[][..] } else { &rights[..] };
    // A closed other end must be an error, not SIGPIPE.
    sendmsg::<()>(end, &[IoSlice::new(message)], rights, MsgFlags::MSG_NOSIGNAL, None)?;
    Ok(())
}

/// Receives a message of at most `max` bytes and its descriptors, close-on-exec; `None` when there
/// is none.
///
/// # Errors
/// Those of recvmsg(2); `FileTooLarge` for a longer message.
pub fn receive(end: impl AsFd, max: usize) -> io::Result<Option<(Vec<u8>, Vec<OwnedFd>)>> {
    let mut message = vec![0; max];
    let mut space = cmsg_space!([RawFd; DESCRIPTORS_MAX]);
    let number = end.as_fd().as_raw_fd();
    let mut parts = [IoSliceMut::new(&mut message)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let received = match recvmsg::<()>(number, &mut parts, Some(&mut space), flags) {
        Ok(received) => received,
        Err(Errno::EAGAIN) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    let mut descriptors = Vec::new();
    for control in received.cmsgs()? {
        if let ControlMessageOwned::ScmRights(numbers) = control {
            // SAFETY: the kernel has just created these descriptors, and nothing else owns them.
            descriptors.extend(numbers.iter().map(|fd| unsafe { OwnedFd::from_raw_fd(*fd) }));
        }
    }
    let (length, is_cut) = (received.bytes, received.flags.contains(MsgFlags::MSG_TRUNC));
    if is_cut {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    message.truncate(length);
    // End of file looks like an empty message.
    Ok((length > 0).then_some((message, descriptors)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sys::{pipe, process};

    #[test]
    fn descriptors_come_with_their_message() {
        let (ours, theirs) = pair().unwrap();
        assert!(is_end_created_by(theirs.as_raw_fd(), process::own_pid()));
        assert!(!is_end_created_by(theirs.as_raw_fd(), 1));
        let (read, write) = descriptor::pipe().unwrap();
        assert!(!is_end_created_by(read.as_raw_fd(), process::own_pid()));
        assert!(receive(&ours, 8).unwrap().is_none());
        let number = theirs.as_raw_fd();
        send(number, b"first", &[read.as_raw_fd(), write.as_raw_fd()]).unwrap();
        send(number, b"second", &[]).unwrap();
        send(number, b"far too long", &[read.as_raw_fd()]).unwrap();
        let (message, descriptors) = receive(&ours, 8).unwrap().unwrap();
        assert_eq!((&message[..], descriptors.len()), (&b"first"[..], 2));
        let identity = |fd: &OwnedFd| descriptor::identity(fd.as_raw_fd()).unwrap();
        assert_eq!(identity(&descriptors[1]), identity(&write));
        let (message, descriptors) = receive(&ours, 8).unwrap().unwrap();
        assert_eq!((&message[..], descriptors.len()), (&b"second"[..], 0));
        let error = receive(&ours, 8).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        drop(theirs);
        assert!(receive(&ours, 8).unwrap().is_none());
    }

    #[test]
    fn no_descriptor_is_lost_however_many_come() {
        let (ours, theirs) = pair().unwrap();
        let (read, write) = descriptor::pipe().unwrap();
        send(theirs.as_raw_fd(), b"x", &[write.as_raw_fd(); DESCRIPTORS_MAX]).unwrap();
        let (_, descriptors) = receive(&ours, 8).unwrap().unwrap();
        assert_eq!(descriptors.len(), DESCRIPTORS_MAX);
        drop((descriptors, write));
        // There is no end of file while another test's child still holds a writing end for a
        // moment.
        let text = pipe::read_to_end(read.as_raw_fd(), 8, Duration::from_secs(5)).unwrap();
        assert_eq!(text, [0; 0]);
    }
}
