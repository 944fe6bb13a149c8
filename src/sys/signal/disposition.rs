//! What a signal does to this process, and the start: what the master makes of what it inherits.

use std::io;

use nix::sys::signal::{
    SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, pthread_sigmask, sigaction,
};

use crate::sys::signal::mask::{HANDLED, Mask, SIGNAL_MAX};

/// Signals that mean nothing to the master and would end it: two that writing raises, where the
/// error of write(2) says all there is to say, and those that somebody may send by mistake. Faults
/// of the program, the limit on its time and the stops of a terminal keep their effect, but for
/// SIGTTOU: where `stty tostop` holds, its own log must not stop a master in the background.
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

/// The kernel's `struct sigaction`: the handler comes first; then flags, what else the machine has,
/// and a set. No machine's is larger.
pub(in crate::sys) type Action = [usize; 8];

/// The one for `SIG_DFL`, which is 0, with no flags and an empty set.
pub(in crate::sys) const DEFAULT_ACTION: Action = [0; 8];

/// The same for `SIG_IGN`, which is 1.
pub(super) const IGNORING_ACTION: Action = [1, 0, 0, 0, 0, 0, 0, 0];

/// The size of the kernel's set of signals, a bit each.
pub(in crate::sys) const KERNEL_SET_BYTES: usize = 8;

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
