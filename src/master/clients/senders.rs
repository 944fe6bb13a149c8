//! Who has sent the bytes that a connection holds: several processes may write one line.

use std::collections::VecDeque;

use crate::decide::{Authority, Sender};
use crate::schema::CarriedSender;

/// The overflow uid that the kernel starts with, for a sender of which it says nothing.
const UNKNOWN_USER: u32 = 65534;

const ROOT: u32 = 0;

/// The senders of what a [`crate::protocol::LineBuffer`] holds, in the order of its bytes.
#[derive(Debug, Default)]
pub struct Senders {
    /// Each with the number of bytes that are from it, never none.
    runs: VecDeque<CarriedSender>,
}

impl Senders {
    /// Those of the image before this one, which has noted them for `length` bytes or for none: an
    /// image that notes nobody, such as a Ruby master, has obeyed everybody, so what it has read
    /// gives its sender no more power than there was.
    pub fn adopt(runs: Vec<CarriedSender>, length: usize) -> Senders {
        let mut senders = Senders { runs: runs.into() };
        if senders.runs.is_empty() {
            senders.push(length, Some((0, ROOT)));
        }
        senders
    }

    /// What travels to the next image.
    pub fn carried(&self) -> Vec<CarriedSender> {
        self.runs.iter().copied().collect()
    }

    /// So many bytes more are from this pid and user id, or from nobody knows whom.
    pub fn push(&mut self, length: usize, sender: Option<(i32, u32)>) {
        let (pid, uid) = sender.unwrap_or((0, UNKNOWN_USER));
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        match self.runs.back_mut().filter(|last| (last.pid, last.uid) == (pid, uid)) {
            Some(last) => last.length = last.length.saturating_add(length),
            None if length > 0 => self.runs.push_back(CarriedSender { length, pid, uid }),
            None => {}
        }
    }

    /// Takes away the first bytes. Answers what those who have sent them may say: the least of all.
    pub fn take(&mut self, length: usize, own_user: u32) -> Authority {
        let mut left = u32::try_from(length).unwrap_or(u32::MAX);
        let mut authority = Authority::Full;
        while left > 0 {
            let Some(first) = self.runs.front_mut() else { break };
            let taken = first.length.min(left);
            let sender = Sender { pid: first.pid, uid: first.uid };
            left -= taken;
            first.length -= taken;
            if first.length == 0 {
                self.runs.pop_front();
            }
            if authority == Authority::Full && !may_command(sender, own_user) {
                authority = Authority::OwnWorker(sender);
            }
        }
        authority
    }

    /// The bytes are gone.
    pub fn clear(&mut self) {
        self.runs.clear();
    }
}

/// Whether a sender is root or the master's user. One that the kernel does not name may have the
/// overflow uid, which is no master's user even where its number is.
fn may_command(sender: Sender, own_user: u32) -> bool {
    sender.uid == ROOT || (sender.uid == own_user && sender.pid != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The master's user, and another.
    const OWN: u32 = 1000;
    const OTHER: u32 = 1001;

    fn lesser(pid: i32, uid: u32) -> Authority {
        Authority::OwnWorker(Sender { pid, uid })
    }

    #[test]
    fn a_line_is_judged_by_the_least_of_those_who_have_sent_a_part_of_it() {
        let mut senders = Senders::default();
        senders.push(4, Some((11, OWN)));
        senders.push(2, Some((12, OTHER)));
        senders.push(4, Some((13, 0)));
        senders.push(4, Some((11, OWN)));
        assert_eq!(senders.take(4, OWN), Authority::Full);
        assert_eq!(senders.take(3, OWN), lesser(12, OTHER));
        assert_eq!(senders.take(7, OWN), Authority::Full);
        assert!(senders.carried().is_empty());
    }

    #[test]
    fn one_byte_is_enough_to_be_judged_by() {
        for place in 0..3 {
            let mut senders = Senders::default();
            for byte in 0..3 {
                senders.push(1, Some(if byte == place { (12, OTHER) } else { (11, OWN) }));
            }
            assert_eq!(senders.take(3, OWN), lesser(12, OTHER), "{place}");
        }
    }

    #[test]
    fn who_is_not_known_may_not_command() {
        for (sender, own) in [(None, OWN), (None, UNKNOWN_USER), (Some((0, OWN)), OWN)] {
            let mut senders = Senders::default();
            senders.push(1, sender);
            let uid = sender.map_or(UNKNOWN_USER, |(_, uid)| uid);
            assert_eq!(senders.take(1, own), lesser(0, uid), "{sender:?} {own}");
        }
    }

    #[test]
    fn what_an_image_read_that_notes_nobody_is_judged_by_what_follows() {
        let mut senders = Senders::adopt(Vec::new(), 5);
        senders.push(5, Some((12, OTHER)));
        let carried = senders.carried();
        assert_eq!(senders.take(5, OWN), Authority::Full);
        let mut again = Senders::adopt(carried, 10);
        assert_eq!(again.take(10, OWN), lesser(12, OTHER));
    }
}
