//! A connection over which one process hands descriptors to another: `SCM_RIGHTS` of unix(7).

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, getsockopt,
    recvmsg, sendmsg, socketpair, sockopt,
};

use crate::sys::{descriptor, socket};

/// How many descriptors a message may carry, `SCM_MAX_FD` of unix(7): room for all of them, so that
/// none is made that nobody closes.
const DESCRIPTORS_MAX: usize = 253;

/// The two ends of a connection that keeps messages apart, neither of which ever waits; close-on-
/// exec.
///
/// # Errors
/// Those of socketpair(2).
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    Ok(socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?)
}

/// Whether a number is an end of a [`pair`] that this process has made.
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
    // An other end that is closed is an error, and no signal.
    sendmsg::<()>(end, &[IoSlice::new(message)], rights, MsgFlags::MSG_NOSIGNAL, None)?;
    Ok(())
}

/// Takes a message of at most `max` bytes and the descriptors that came with it, close-on-exec;
/// `None` when there is none.
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
            // SAFETY: the kernel has just made these for this process, and nobody else knows them.
            descriptors.extend(numbers.iter().map(|fd| unsafe { OwnedFd::from_raw_fd(*fd) }));
        }
    }
    let (length, is_cut) = (received.bytes, received.flags.contains(MsgFlags::MSG_TRUNC));
    if is_cut {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    message.truncate(length);
    // The end, where nobody is left to send, looks like a message of nothing.
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
        // It has no end as long as a writer is left; another test's child may be one for a moment.
        let text = pipe::read_to_end(read.as_raw_fd(), 8, Duration::from_secs(5)).unwrap();
        assert_eq!(text, [0; 0]);
    }
}
