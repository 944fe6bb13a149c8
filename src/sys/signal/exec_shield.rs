//! What protects this process while a stranger runs in its place.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use nix::sys::signal::{
    SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, pthread_sigmask, sigaction,
};
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::WithRawSiginfo;

/// The signals that the master acts on, or that would end it were they not handled.
const HANDLED: [Signal; 8] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGALRM,
    Signal::SIGCHLD,
];

/// Signals that mean nothing to the master and would end it: two that writing raises, where the
/// error of write(2) says all there is to say, and those that somebody may send by mistake. Faults
/// of the program, the limit on its time and the stops of a terminal keep their effect.
const IGNORED: [Signal; 7] = [
    Signal::SIGPIPE,
    Signal::SIGXFSZ,
    Signal::SIGIO,
    Signal::SIGPROF,
    Signal::SIGPWR,
    Signal::SIGSTKFLT,
    Signal::SIGVTALRM,
];

/// The lowest number of a real-time signal; see signal(7).
const REAL_TIME_MIN: i32 = 32;

/// The highest number of a signal.
pub(in crate::sys) const SIGNAL_MAX: i32 = 64;

/// The kernel's `struct sigaction`: the handler comes first; then flags, what else the machine has,
/// and a set. No machine's is larger.
pub(in crate::sys) type Action = [usize; 8];

/// The one for `SIG_DFL`, which is 0, with no flags and an empty set.
pub(in crate::sys) const DEFAULT_ACTION: Action = [0; 8];

/// The same for `SIG_IGN`, which is 1.
const IGNORING_ACTION: Action = [1, 0, 0, 0, 0, 0, 0, 0];

/// The size of the kernel's set of signals, a bit each.
pub(in crate::sys) const KERNEL_SET_BYTES: usize = 8;

/// A set of blocked signals.
#[derive(Clone, Copy, Debug)]
pub struct Mask(SigSet);

impl Mask {
    /// This set without the signals that the master handles.
    pub fn open(self) -> Mask {
        let mut open = self.0;
        for signal in HANDLED {
            open.remove(signal);
        }
        Mask(open)
    }

    /// The set as a number: bit n-1 is signal n.
    pub fn to_bits(self) -> u64 {
        // SAFETY: sigismember only reads the set, which is initialised.
        let is_member = |number: i32| unsafe { libc::sigismember(self.as_ptr(), number) } == 1;
        (1..=SIGNAL_MAX).filter(|n| is_member(*n)).fold(0, |bits, n| bits | 1 << (n - 1))
    }

    /// The set that a number means, real-time signals included.
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

    /// Lets in the signals that wait, for an instant.
    ///
    /// # Errors
    /// Those of sigprocmask(2).
    pub fn let_in(&self) -> io::Result<()> {
        let blocked = self.0.thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
        Ok(blocked.thread_set_mask()?)
    }

    pub(in crate::sys) fn as_ptr(&self) -> *const libc::sigset_t {
        self.0.as_ref()
    }
}

/// Blocks the handled set, ignores what must not end the master, and makes the disposition of
/// SIGCHLD its default, whatever was inherited; [`crate::sys::spawn`] undoes it for every child.
/// Answers the mask that this process was started with.
///
/// # Errors
/// Those of sigprocmask(2) and sigaction(2).
pub fn take_over() -> io::Result<Mask> {
    let mut original = SigSet::empty();
    pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&SigSet::from_iter(HANDLED)), Some(&mut original))?;
    for signal in IGNORED {
        dispose(signal, SigHandler::SigIgn)?;
    }
    ignore_real_time();
    // An inherited SIG_IGN would make the kernel reap the workers, and their statuses be lost.
    dispose(Signal::SIGCHLD, SigHandler::SigDfl)?;
    Ok(Mask(original))
}

/// Lets the default disposition of SIGPIPE end a program that writes to a closed pipe, as is
/// expected of programs in pipelines.
pub fn die_of_closed_pipes() {
    // A failure leaves the error of write(2), which callers handle too.
    let _ = dispose(Signal::SIGPIPE, SigHandler::SigDfl);
}

/// Not by libc's wrapper, which refuses the signals that it keeps for itself.
fn ignore_real_time() {
    let no_answer: *mut libc::c_void = std::ptr::null_mut();
    for number in REAL_TIME_MIN..=SIGNAL_MAX {
        // SAFETY: the kernel reads one `struct sigaction`, which no machine's is larger than; to
        // ignore a signal runs no code of ours.
        unsafe {
            let action = IGNORING_ACTION.as_ptr();
            libc::syscall(libc::SYS_rt_sigaction, number, action, no_answer, KERNEL_SET_BYTES);
        }
    }
}

fn dispose(signal: Signal, handler: SigHandler) -> io::Result<()> {
    let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
    // SAFETY: the handlers set here are SIG_IGN and SIG_DFL, which run no code of ours.
    unsafe { sigaction(signal, &action) }?;
    Ok(())
}

/// What runs in this process's place and does not take signals over by its first statement.
#[derive(Clone, Copy, Debug)]
pub enum Stranger {
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

/// What protects this process while a stranger runs in its place. Shells and interpreters clear the
/// signal mask, so the terminating signals are ignored. Dropped when the exec returned: everything
/// is as before.
#[derive(Debug)]
pub(in crate::sys) struct Shield {
    actions: Vec<(i32, Action)>,
    mask: SigSet,
    /// What was pending and is lost to a stranger.
    pending: Vec<libc::siginfo_t>,
}

impl Shield {
    /// Raises it.
    pub(in crate::sys) fn raise(stranger: Stranger) -> Shield {
        let mut shield = Shield { actions: Vec::new(), mask: SigSet::empty(), pending: Vec::new() };
        match stranger {
            Stranger::Wrapper { seconds_max } => shield.before_wrapper(seconds_max),
            Stranger::Ruby { mask } => shield.before_ruby(mask),
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
        pending.iter().for_each(send_again);
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
            self.exchange(number, &DEFAULT_ACTION);
        }
    }

    fn change(&mut self, signal: Signal, handler: SigHandler) {
        let action = match handler {
            SigHandler::SigIgn => IGNORING_ACTION,
            _ => DEFAULT_ACTION,
        };
        self.exchange(signal as i32, &action);
    }

    /// Not by libc's wrapper, which refuses the signals that it keeps for itself. The kernel
    /// refuses those that nobody can change.
    fn exchange(&mut self, number: i32, action: &Action) {
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
        let no_answer: *mut libc::c_void = std::ptr::null_mut();
        for (number, before) in self.actions.iter().rev() {
            // SAFETY: the action was in force before, so its handler is valid to install.
            unsafe {
                let before = before.as_ptr();
                libc::syscall(libc::SYS_rt_sigaction, *number, before, no_answer, KERNEL_SET_BYTES);
            }
        }
        self.pending.iter().for_each(send_again);
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
fn send_again(info: &libc::siginfo_t) {
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

/// A signal that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Its number.
    pub number: i32,
    /// The pid and real user id of a process that sent it; `None` when the kernel did.
    pub sender: Option<(i32, u32)>,
}

/// The handled signals, as something to wait for.
#[derive(Debug)]
pub struct Signals(SignalDelivery<UnixStream, WithRawSiginfo>);

impl Signals {
    /// Installs handlers for the handled set; [`take_over`] must have blocked it.
    ///
    /// # Errors
    /// Those of socketpair(2) and sigaction(2).
    pub fn new() -> io::Result<Signals> {
        let (read, write) = UnixStream::pair()?;
        read.set_nonblocking(true)?;
        write.set_nonblocking(true)?;
        let numbers = HANDLED.map(|signal| signal as i32);
        Ok(Signals(SignalDelivery::with_pipe(read, write, WithRawSiginfo, numbers)?))
    }

    /// Readable when a signal has arrived.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.get_read().as_fd()
    }

    /// Takes the signals that have arrived.
    pub fn received(&mut self) -> Vec<Received> {
        self.0.pending().map(|info| received(&info)).collect()
    }
}

fn received(info: &libc::siginfo_t) -> Received {
    // Codes of 0 and below are those of kill(2), sigqueue(3) and tgkill(2); see sigaction(2).
    let sender = (info.si_code <= 0).then(|| {
        // SAFETY: for signals that a process sent, the kernel has filled in si_pid and si_uid.
        unsafe { (info.si_pid(), info.si_uid()) }
    });
    Received { number: info.si_signo, sender }
}

/// The number of a signal by its name without `SIG`, on this machine.
pub fn number(name: &str) -> Option<i32> {
    format!("SIG{name}").parse::<Signal>().ok().map(|signal| signal as i32)
}

/// The name without `SIG` of a standard signal.
pub fn name(number: i32) -> Option<&'static str> {
    Signal::try_from(number).ok().and_then(|signal| signal.as_str().strip_prefix("SIG"))
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

    #[test]
    fn exits_are_not_thrown_away_before_an_exec() {
        let ignored: Vec<Signal> = ignored_before_ruby().collect();
        assert!(!ignored.contains(&Signal::SIGCHLD), "the kernel would reap workers itself");
        assert!(TERMINATING.iter().all(|signal| ignored.contains(signal)));
    }
}
