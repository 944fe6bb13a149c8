//! Protecting this process from signals while a foreign image runs in it.

use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};

use crate::sys::signal::disposition::{Action, DEFAULT_ACTION, IGNORING_ACTION, exchange_action};
use crate::sys::signal::mask::{HANDLED, Mask, SIGNAL_MAX};

/// A program executed in this process that does not handle signals from its first statement on.
#[derive(Clone, Copy, Debug)]
pub enum ForeignImage {
    /// A wrapper script that execs our next image in the end; it has hung if it takes too long.
    Wrapper {
        /// After how many seconds an alarm kills it.
        seconds_max: u32,
    },
    /// A Ruby Einhorn, to stay. It gets neither an alarm nor the signals that we ignore or block.
    Ruby {
        /// The mask that it is started with.
        mask: Mask,
    },
}

/// Signals that request something of a master or terminate it, and that the original traps.
const TERMINATING: [Signal; 5] =
    [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGUSR2];

/// Protects this process from signals while a foreign image runs in it. Shells and interpreters
/// clear the signal mask, so the terminating signals are ignored. Dropping it, if the exec
/// returned, restores everything.
#[derive(Debug)]
pub(in crate::sys) struct Shield {
    actions: Vec<(i32, Action)>,
    mask: SigSet,
    /// Pending signals, which a foreign image would discard.
    pending: Vec<libc::siginfo_t>,
}

impl Shield {
    /// Changes dispositions, mask and alarm for a foreign image.
    pub(in crate::sys) fn raise(foreign_image: ForeignImage) -> Shield {
        let mut shield = Shield { actions: Vec::new(), mask: SigSet::empty(), pending: Vec::new() };
        match foreign_image {
            ForeignImage::Wrapper { seconds_max } => shield.before_wrapper(seconds_max),
            ForeignImage::Ruby { mask } => shield.before_ruby(mask),
        }
        shield
    }

    /// Signals stay pending for our next image, unless the script changes the mask. A shell's
    /// `wait` hangs without SIGCHLD, so that has its default disposition and is unblocked, and so
    /// is the alarm.
    fn before_wrapper(&mut self, seconds_max: u32) {
        let not_kept = [Signal::SIGALRM, Signal::SIGCHLD];
        let kept = HANDLED.into_iter().filter(|signal| !not_kept.contains(signal));
        // Ignoring a signal discards a pending one, even if it is blocked.
        let pending = take_pending(&kept.collect());
        for signal in HANDLED.into_iter().filter(|signal| *signal != Signal::SIGCHLD) {
            self.set_action(signal as i32, &IGNORING_ACTION);
        }
        pending.iter().for_each(requeue);
        self.set_action(Signal::SIGALRM as i32, &DEFAULT_ACTION);
        self.set_action(Signal::SIGCHLD as i32, &DEFAULT_ACTION);
        let open = SigSet::from_iter([Signal::SIGALRM, Signal::SIGCHLD]);
        // Setting a valid mask cannot fail.
        let _ = pthread_sigmask(SigmaskHow::SIG_UNBLOCK, Some(&open), Some(&mut self.mask));
        set_alarm(seconds_max);
    }

    /// The original traps the terminating signals once it has initialised, and its workers inherit
    /// its mask and whatever else is ignored: everything else gets the default that programs
    /// expect.
    fn before_ruby(&mut self, mask: Mask) {
        self.pending = take_pending(&SigSet::from_iter(HANDLED));
        for signal in ignored_before_ruby() {
            self.set_action(signal as i32, &IGNORING_ACTION);
        }
        let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&mask.0), Some(&mut self.mask));
        let stays = |number: &i32| TERMINATING.iter().any(|signal| *signal as i32 == *number);
        for number in (1..=SIGNAL_MAX).filter(|number| !stays(number)) {
            self.set_action(number, &DEFAULT_ACTION);
        }
    }

    /// Sets one of the two actions that run no code of ours.
    fn set_action(&mut self, number: i32, action: &Action) {
        // SAFETY: the action has no handler.
        let before = unsafe { exchange_action(number, action) };
        self.actions.extend(before.map(|before| (number, before)));
    }
}

impl Drop for Shield {
    fn drop(&mut self) {
        set_alarm(0);
        let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&self.mask), None);
        for (number, before) in self.actions.iter().rev() {
            // SAFETY: the action was in force before, so its handler is valid.
            unsafe { exchange_action(*number, before) };
        }
        self.pending.iter().for_each(requeue);
    }
}

/// Signals ignored while the mask is cleared, so that none kills this process. Not SIGCHLD: while
/// that is ignored, the kernel reaps the workers and their statuses are lost.
fn ignored_before_ruby() -> impl Iterator<Item = Signal> {
    HANDLED.into_iter().filter(|signal| *signal != Signal::SIGCHLD)
}

/// Dequeues the pending signals of a blocked set.
fn take_pending(set: &SigSet) -> Vec<libc::siginfo_t> {
    let at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let mut pending = Vec::new();
    loop {
        // SAFETY: an all-zero siginfo_t is valid, and the kernel writes to it; set and time live
        // through the call.
        let (answer, info) = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            (libc::sigtimedwait(set.as_ref(), &mut info, &at_once), info)
        };
        if answer <= 0 {
            return pending;
        }
        pending.push(info);
    }
}

/// Queues a signal to this process again with the same siginfo, sender included, which a process
/// may do to itself.
fn requeue(info: &libc::siginfo_t) {
    // SAFETY: the kernel reads one siginfo_t, which lives through the call.
    unsafe {
        libc::syscall(libc::SYS_rt_sigqueueinfo, libc::getpid(), info.si_signo, info);
    }
}

/// Sets the alarm of this process, which survives an exec; 0 turns it off.
pub fn set_alarm(seconds: u32) {
    // SAFETY: alarm touches no memory.
    unsafe { libc::alarm(seconds) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exits_are_not_thrown_away_before_an_exec() {
        let ignored: Vec<Signal> = ignored_before_ruby().collect();
        assert!(!ignored.contains(&Signal::SIGCHLD), "the kernel would reap workers itself");
        assert!(TERMINATING.iter().all(|signal| ignored.contains(signal)));
    }
}
