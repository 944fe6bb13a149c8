//! What another process does with signals, as `/proc/PID/status` tells it.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use crate::sys::proc_pid;
use crate::sys::signal::SIGNAL_MAX;

/// How much of `/proc/PID/status` is read: its signals stand behind a list of up to 65,536 groups.
const STATUS_BYTES_MAX: u64 = 1 << 20;

/// How much of `/proc/PID/comm` is read: 15 bytes and a newline, of a kernel's thread some more.
const COMM_BYTES_MAX: u64 = 256;

/// What a process does with a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// It has a handler for it.
    Caught,
    /// It has no handler and its first thread blocks it: it takes it by sigwait(3) or signalfd(2),
    /// as a rule, and is not ended by it.
    Blocked,
    /// It ignores it.
    Ignored,
    /// The signal does what signal(7) says; most signals end the process.
    Default,
}

/// What a process does with each signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handlers {
    caught: u64,
    blocked: u64,
    ignored: u64,
}

impl Handlers {
    /// What becomes of a signal by number.
    pub fn disposition(self, number: i32) -> Disposition {
        if !(1..=SIGNAL_MAX).contains(&number) {
            return Disposition::Default;
        }
        let has = |set: u64| set >> (number - 1) & 1 == 1;
        match () {
            () if has(self.caught) => Disposition::Caught,
            // One that is blocked is kept although it is ignored.
            () if has(self.blocked) => Disposition::Blocked,
            () if has(self.ignored) => Disposition::Ignored,
            () => Disposition::Default,
        }
    }
}

/// What a process does with signals; `None` when it is gone, or this one cannot read it (`hidepid`,
/// no descriptor left).
pub fn of(pid: i32) -> Option<Handlers> {
    parse(&proc_pid::read(pid, "status", STATUS_BYTES_MAX).ok()??)
}

/// The name of a process's program, byte for byte: the kernel cuts it to 15, and the process may
/// have changed it. `None` as for [`of`].
pub fn program_name(pid: i32) -> Option<OsString> {
    let mut name = proc_pid::read(pid, "comm", COMM_BYTES_MAX).ok()??;
    if name.last() == Some(&b'\n') {
        name.pop();
    }
    Some(OsString::from_vec(name)).filter(|name| !name.is_empty())
}

/// A set is 16 hexadecimal digits; bit n-1 is signal n.
fn parse(status: &[u8]) -> Option<Handlers> {
    let set = |field: &[u8]| {
        let mut lines = status.split(|byte| *byte == b'\n');
        let digits = lines.find_map(|line| line.strip_prefix(field))?;
        u64::from_str_radix(std::str::from_utf8(digits).ok()?.trim(), 16).ok()
    };
    Some(Handlers {
        caught: set(b"SigCgt:")?,
        blocked: set(b"SigBlk:")?,
        ignored: set(b"SigIgn:")?,
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    use nix::sys::signal::{SigSet, Signal};

    use super::*;
    use crate::sys::alone::until;

    #[test]
    fn what_a_program_does_with_signals_is_read() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "trap : TERM; trap '' USR1; read line"]).stdin(Stdio::piped());
        // SAFETY: the child calls nothing but the kernel before it executes.
        unsafe {
            command.pre_exec(|| {
                let mut blocked = SigSet::empty();
                blocked.add(Signal::SIGHUP);
                Ok(blocked.thread_block()?)
            });
        }
        let mut shell = command.spawn().unwrap();
        let pid = shell.id().try_into().unwrap();
        let number = |signal: Signal| signal as i32;
        let handlers = until("it ignores SIGUSR1", || {
            let handlers = of(pid).unwrap();
            let told = handlers.disposition(number(Signal::SIGUSR1));
            (told == Disposition::Ignored).then_some(handlers)
        });
        assert_eq!(handlers.disposition(number(Signal::SIGTERM)), Disposition::Caught);
        assert_eq!(handlers.disposition(number(Signal::SIGHUP)), Disposition::Blocked);
        assert_eq!(handlers.disposition(number(Signal::SIGUSR2)), Disposition::Default);
        assert_eq!(handlers.disposition(number(Signal::SIGKILL)), Disposition::Default);
        assert_eq!(program_name(pid).unwrap(), "sh");
        shell.stdin.take().unwrap().write_all(b"\n").unwrap();
        shell.wait().unwrap();
        assert_eq!(of(pid), None);
        assert_eq!(program_name(pid), None);
    }

    #[test]
    fn every_signal_has_its_bit() {
        let status = b"Name:\tSigCgt:\nGroups:\t0 \xff\nSigBlk:\t0000000000000001\n\
            SigIgn:\t8000000000000001\nSigCgt:\t0000000000004000\n";
        let handlers = parse(status).unwrap();
        assert_eq!(handlers.disposition(15), Disposition::Caught);
        assert_eq!(handlers.disposition(1), Disposition::Blocked);
        assert_eq!(handlers.disposition(64), Disposition::Ignored);
        for number in [i32::MIN, 0, 14, 16, 65, i32::MAX] {
            assert_eq!(handlers.disposition(number), Disposition::Default, "{number}");
        }
        assert_eq!(parse(b"SigCgt:\t0000000000004000\n"), None, "cut short");
    }
}
