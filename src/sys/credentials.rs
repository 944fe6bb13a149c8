//! Who sent what comes over a UNIX connection, from the kernel: `SO_PASSCRED` of unix(7).

use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd};

use nix::cmsg_space;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, UnixCredentials, recvmsg, setsockopt, sockopt,
};

/// Has the kernel note who sends what, from now on: of what was sent before, nothing is known.
///
/// # Errors
/// Those of setsockopt(2).
pub fn note_senders(connection: impl AsFd) -> io::Result<()> {
    Ok(setsockopt(&connection, sockopt::PassCred, &true)?)
}

/// Reads as read(2) does, and never what several processes have sent at once. Answers how many
/// bytes, and the pid and the user id of who sent them: the real one, unless the sender has chosen
/// its effective or saved one. Both are as this process sees them: a pid that it cannot see is 0,
/// and a user that it does not know is the overflow uid, as is that of bytes without a note.
///
/// `None` for a sender that the kernel does not tell, because something else came along; the
/// descriptors that anyone sends are never taken.
///
/// # Errors
/// Those of recvmsg(2).
pub fn receive(connection: impl AsFd, bytes: &mut [u8]) -> io::Result<(usize, Option<(i32, u32)>)> {
    // Room for the credentials alone: they come first, and what does not fit is dropped.
    let mut space = cmsg_space!(UnixCredentials);
    let number = connection.as_fd().as_raw_fd();
    let mut parts = [IoSliceMut::new(bytes)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let received = recvmsg::<()>(number, &mut parts, Some(&mut space), flags)?;
    // Refused when anything was dropped.
    let sender = received.cmsgs().ok().and_then(|mut messages| {
        messages.find_map(|message| match message {
            ControlMessageOwned::ScmCredentials(sender) => Some((sender.pid(), sender.uid())),
            _ => None,
        })
    });
    Ok((received.bytes, sender))
}

#[cfg(test)]
mod tests {
    use std::io::{IoSlice, Write};
    use std::os::fd::RawFd;
    use std::os::unix::net::UnixStream;
    use std::process::{Command, Stdio};

    use nix::sys::socket::{ControlMessage, sendmsg};

    use super::*;
    use crate::sys::{process, user};

    /// What comes next, and who sent it.
    fn next(ours: &UnixStream) -> (Vec<u8>, Option<(i32, u32)>) {
        let mut bytes = [0; 64];
        let (count, sender) = receive(ours, &mut bytes).unwrap();
        (bytes[..count].to_vec(), sender)
    }

    #[test]
    fn one_read_never_has_the_bytes_of_two_senders() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        note_senders(&ours).unwrap();
        let me = Some((process::own_pid(), user::effective_id()));
        theirs.write_all(b"of me").unwrap();
        theirs.write_all(b", twice").unwrap();
        let output = Stdio::from(std::os::fd::OwnedFd::from(theirs.try_clone().unwrap()));
        let mut child = Command::new("echo").args(["-n", "of it"]).stdout(output).spawn().unwrap();
        let it = Some((child.id().cast_signed(), user::effective_id()));
        child.wait().unwrap();
        theirs.write_all(b"of me again").unwrap();
        let mut told = Vec::new();
        while told.last().is_none_or(|(bytes, _): &(Vec<u8>, _)| !bytes.ends_with(b"again")) {
            told.push(next(&ours));
        }
        // What one has sent may come in pieces.
        told.dedup_by(|(later, by), (bytes, before)| {
            let is_same = by == before;
            bytes.extend_from_slice(if is_same { later } else { b"" });
            is_same
        });
        // It is gone, and its number is told all the same.
        let expected = [(&b"of me, twice"[..], me), (b"of it", it), (b"of me again", me)];
        assert_eq!(told, expected.map(|(bytes, sender)| (bytes.to_vec(), sender)));
    }

    #[test]
    fn of_what_was_sent_before_nobody_knows_the_sender() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"before").unwrap();
        note_senders(&ours).unwrap();
        theirs.write_all(b"after").unwrap();
        let (bytes, sender) = next(&ours);
        let (pid, uid) = sender.unwrap();
        assert_eq!((&bytes[..], pid), (&b"before"[..], 0));
        assert_ne!(uid, user::effective_id());
        assert_eq!(next(&ours).1, Some((process::own_pid(), user::effective_id())));
        drop(theirs);
        assert_eq!(next(&ours).0, b"");
    }

    #[test]
    fn descriptors_that_come_along_are_not_taken() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        note_senders(&ours).unwrap();
        let (read, write) = crate::sys::descriptor::pipe().unwrap();
        let sent: [RawFd; 1] = [write.as_raw_fd()];
        let rights = [ControlMessage::ScmRights(&sent)];
        let parts = [IoSlice::new(b"x")];
        sendmsg::<()>(theirs.as_raw_fd(), &parts, &rights, MsgFlags::empty(), None).unwrap();
        drop(write);
        assert_eq!(next(&ours), (b"x".to_vec(), None));
        // Nobody is left to write, once a child of another test has executed its program.
        let end = std::time::Duration::from_secs(5);
        let rest = crate::sys::pipe::read_to_end(read.as_raw_fd(), 8, end).unwrap();
        assert_eq!(rest, [0; 0]);
    }
}
