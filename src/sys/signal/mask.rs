//! Signal sets: the handled signals, and signal masks.

use std::io;

use nix::sys::signal::{SigSet, SigmaskHow, Signal};

/// Signals that the master acts on, or that would kill it if they had no handler.
pub(super) const HANDLED: [Signal; 8] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGALRM,
    Signal::SIGCHLD,
];

/// The highest signal number.
pub(in crate::sys) const SIGNAL_MAX: i32 = 64;

/// A signal mask: the set of blocked signals.
#[derive(Clone, Copy, Debug)]
pub struct Mask(pub(super) SigSet);

impl Mask {
    /// This mask without the signals that the master handles.
    pub fn without_handled(self) -> Mask {
        let mut open = self.0;
        for signal in HANDLED {
            open.remove(signal);
        }
        Mask(open)
    }

    /// The mask as a number: bit n-1 is signal n.
    pub fn to_bits(self) -> u64 {
        // SAFETY: sigismember only reads the set, which is initialised.
        let is_member = |number: i32| unsafe { libc::sigismember(self.as_ptr(), number) } == 1;
        (1..=SIGNAL_MAX).filter(|n| is_member(*n)).fold(0, |bits, n| bits | 1 << (n - 1))
    }

    /// The mask that a number stands for, real-time signals included.
    pub fn from_bits(bits: u64) -> Mask {
        // SAFETY: sigemptyset initialises the set, and sigaddset only adds to it.
        unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&mut set);
            for number in (1..=SIGNAL_MAX).filter(|number| bits >> (number - 1) & 1 == 1) {
                libc::sigaddset(&mut set, number);
            }
            Mask(SigSet::from_sigset_t_unchecked(set))
        }
    }

    /// Delivers the pending signals that this mask does not block, by setting it for an instant.
    ///
    /// # Errors
    /// Those of sigprocmask(2).
    pub fn deliver_pending(&self) -> io::Result<()> {
        let blocked = self.0.thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
        Ok(blocked.thread_set_mask()?)
    }

    pub(in crate::sys) fn as_ptr(&self) -> *const libc::sigset_t {
        self.0.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_survives_as_a_number() {
        for bits in [0, 1, 1 << 9 | 1 << 14, 1 << 40 | 1 << 63] {
            assert_eq!(Mask::from_bits(bits).to_bits(), bits);
        }
    }
}
