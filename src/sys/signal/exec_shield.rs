//! What protects this process while a foreign image runs in its place.

use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, pthread_sigmask};

use crate::sys::signal::disposition::{Action, DEFAULT_ACTION, IGNORING_ACTION, KERNEL_SET_BYTES};
use crate::sys::signal::mask::{HANDLED, Mask, SIGNAL_MAX};

/// What runs in this process's place and does not take signals over by its first statement.
#[derive(Clone, Copy, Debug)]
pub enum ForeignImage {
    /// A script that executes our next image in the end, and has hung if it has not by then.
    Wrapper {
        /// After how many seconds an alarm ends it.
        seconds_max: u32,
    },
    /// A Ruby Einhorn, for good. It gets neither an alarm nor what we ignore and block.
    Ruby {
        /// The mask that it is started with.
        mask: Mask,
    },
}

/// What asks a master for something, or for its end.
const TERMINATING: [Signal; 5] =
    [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGUSR2];

/// What protects this process while a foreign image runs in its place. Shells and interpreters
/// clear the signal mask, so the terminating signals are ignored. Dropped when the exec returned:
/// everything is as before.
#[derive(Debug)]
pub(in crate::sys) struct Shield {
    actions: Vec<(i32, Action)>,
    mask: SigSet,
    /// What was pending and is lost to a foreign image.
    pending: Vec<libc::siginfo_t>,
}

impl Shield {
    /// Raises it.
    pub(in crate::sys) fn raise(foreign_image: ForeignImage) -> Shield {
        let mut shield = Shield { actions: Vec::new(), mask: SigSet::empty(), pending: Vec::new() };
        match foreign_image {
            ForeignImage::Wrapper { seconds_max } => shield.before_wrapper(seconds_max),
            ForeignImage::Ruby { mask } => shield.before_ruby(mask),
        }
        shield
    }

    /// What arrives stays pending for our next image where the script leaves the mask as it is. A
    /// shell's `wait` hangs without SIGCHLD, so that one is default and open, and so is the alarm.
    fn before_wrapper(&mut self, seconds_max: u32) {
        let not_kept = [Signal::SIGALRM, Signal::SIGCHLD];
        let kept = HANDLED.into_iter().filter(|signal| !not_kept.contains(signal));
        // To ignore a signal throws away one that is pending, though it is blocked.
        let pending = take_pending(&kept.collect());
        for signal in HANDLED.into_iter().filter(|signal| *signal != Signal::SIGCHLD) {
            self.change(signal, SigHandler::SigIgn);
        }
        pending.iter().for_each(requeue);
        self.change(Signal::SIGALRM, SigHandler::SigDfl);
        self.change(Signal::SIGCHLD, SigHandler::SigDfl);
        let open = SigSet::from_iter([Signal::SIGALRM, Signal::SIGCHLD]);
        // Changing the mask of a thread to a valid set cannot fail.
        let _ = pthread_sigmask(SigmaskHow::SIG_UNBLOCK, Some(&open), Some(&mut self.mask));
        set_alarm(seconds_max);
    }

    /// The original traps the terminating signals itself, once it is that far, and hands its mask
    /// and whatever else is ignored on to its workers: everything else is as programs expect it.
    fn before_ruby(&mut self, mask: Mask) {
        self.pending = take_pending(&SigSet::from_iter(HANDLED));
        for signal in ignored_before_ruby() {
            self.change(signal, SigHandler::SigIgn);
        }
        let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&mask.0), Some(&mut self.mask));
        let stays = |number: &i32| TERMINATING.iter().any(|signal| *signal as i32 == *number);
        for number in (1..=SIGNAL_MAX).filter(|number| !stays(number)) {
            self.set_action(number, &DEFAULT_ACTION);
        }
    }

    fn change(&mut self, signal: Signal, handler: SigHandler) {
        let action = match handler {
            SigHandler::SigIgn => IGNORING_ACTION,
            _ => DEFAULT_ACTION,
        };
        self.set_action(signal as i32, &action);
    }

    /// Not by libc's wrapper, which refuses the signals that it keeps for itself. The kernel
    /// refuses those that nobody can change.
    fn set_action(&mut self, number: i32, action: &Action) {
        let mut before = DEFAULT_ACTION;
        // SAFETY: the kernel reads one `struct sigaction` and writes one, which no machine's is
        // larger than; SIG_IGN and SIG_DFL run no code of ours.
        let answer = unsafe {
            let (action, before) = (action.as_ptr(), before.as_mut_ptr());
            libc::syscall(libc::SYS_rt_sigaction, number, action, before, KERNEL_SET_BYTES)
        };
        if answer == 0 {
            self.actions.push((number, before));
        }
    }
}

impl Drop for Shield {
    fn drop(&mut self) {
        set_alarm(0);
        let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&self.mask), None);
        let no_old_action: *mut libc::c_void = std::ptr::null_mut();
        for (number, before) in self.actions.iter().rev() {
            // SAFETY: the action was in force before, so its handler is valid to install.
            unsafe {
                let before = before.as_ptr();
                libc::syscall(
                    libc::SYS_rt_sigaction,
                    *number,
                    before,
                    no_old_action,
                    KERNEL_SET_BYTES,
                );
            }
        }
        self.pending.iter().for_each(requeue);
    }
}

/// What is ignored while the mask opens, so that nothing ends this process then. Not SIGCHLD: while
/// it is, the kernel reaps the workers itself, and how they ended is lost.
fn ignored_before_ruby() -> impl Iterator<Item = Signal> {
    HANDLED.into_iter().filter(|signal| *signal != Signal::SIGCHLD)
}

/// Takes the signals of a blocked set that are pending.
fn take_pending(set: &SigSet) -> Vec<libc::siginfo_t> {
    let at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let mut pending = Vec::new();
    loop {
        // SAFETY: an all-zero siginfo_t is a valid one, which the kernel writes to; set and time
        // live through the call.
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

/// Makes a signal pending again as it was, its sender included; of a process to itself this is
/// allowed.
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
