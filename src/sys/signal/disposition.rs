//! Signal dispositions, and setting up signals at the start.

use std::io;

use nix::sys::signal::{
    SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, pthread_sigmask, sigaction,
};

use crate::sys::signal::mask::{HANDLED, Mask, SIGNAL_MAX};

/// Signals that mean nothing to the master but would kill it: two raised by writing, where the
/// error of write(2) suffices, and those that may be sent by mistake. Faults of the program, the
/// CPU limit and a terminal's stop signals keep their effect, except for SIGTTOU: with
/// `stty tostop`, its own log would stop a master in the background.
const IGNORED: [Signal; 8] = [
    Signal::SIGPIPE,
    Signal::SIGXFSZ,
    Signal::SIGTTOU,
    Signal::SIGIO,
    Signal::SIGPROF,
    Signal::SIGPWR,
    Signal::SIGSTKFLT,
    Signal::SIGVTALRM,
];

/// The lowest number of a real-time signal; see signal(7).
const REAL_TIME_MIN: i32 = 32;

/// The kernel's `struct sigaction`: the handler, then flags, other fields of the architecture, and
/// a set. No architecture's is larger.
pub(in crate::sys) type Action = [usize; 8];

/// The action `SIG_DFL`, which is 0, with no flags and an empty set.
pub(in crate::sys) const DEFAULT_ACTION: Action = [0; 8];

/// The action `SIG_IGN`, which is 1.
pub(super) const IGNORING_ACTION: Action = [1, 0, 0, 0, 0, 0, 0, 0];

/// The size of the kernel's signal set: a bit per signal.
pub(in crate::sys) const KERNEL_SET_BYTES: usize = 8;

/// Blocks the handled set, ignores signals that must not kill the master, and resets SIGCHLD to its
/// default; [`crate::sys::spawn`] undoes all of it for every child. Returns the mask that this
/// process was started with.
///
/// # Errors
/// Those of sigprocmask(2) and sigaction(2).
pub fn set_up() -> io::Result<Mask> {
    let mut original = SigSet::empty();
    pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&SigSet::from_iter(HANDLED)), Some(&mut original))?;
    for signal in IGNORED {
        set_disposition(signal, SigHandler::SigIgn)?;
    }
    for number in REAL_TIME_MIN..=SIGNAL_MAX {
        // SAFETY: ignoring a signal runs no code of ours.
        unsafe { exchange_action(number, &IGNORING_ACTION) };
    }
    // With an inherited SIG_IGN, the kernel would reap the workers and their statuses would be
    // lost.
    set_disposition(Signal::SIGCHLD, SigHandler::SigDfl)?;
    Ok(Mask(original))
}

/// Sets an action, and returns the one before; `None` where the kernel rejects that, as for SIGKILL
/// and SIGSTOP. A raw system call, because libc's wrapper rejects the signals that it uses itself.
///
/// # Safety
/// If the action has a handler, it must be valid.
pub(super) unsafe fn exchange_action(number: i32, action: &Action) -> Option<Action> {
    let mut before = DEFAULT_ACTION;
    // SAFETY: the kernel reads and writes one `struct sigaction`, which is no larger than `Action`.
    let answer = unsafe {
        let (action, before) = (action.as_ptr(), before.as_mut_ptr());
        libc::syscall(libc::SYS_rt_sigaction, number, action, before, KERNEL_SET_BYTES)
    };
    (answer == 0).then_some(before)
}

fn set_disposition(signal: Signal, handler: SigHandler) -> io::Result<()> {
    let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
    // SAFETY: SIG_IGN and SIG_DFL run no code of ours.
    unsafe { sigaction(signal, &action) }?;
    Ok(())
}
