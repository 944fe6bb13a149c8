//! What has happened to the children of this process; see waitid(2).
//!
//! SIGCHLD is raised for stops and continues too: [`crate::sys::signal::Signals`] handles it
//! without `SA_NOCLDSTOP`. It is not raised for a process that becomes a child of this one because
//! its own parent has died, whatever its state is then.

use std::io;

use nix::errno::Errno;

use crate::sys::process::{WaitStatus, decode};

/// What has happened to a child.
#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    /// It has ended, and waits to be reaped.
    Ended(Ended),
    /// A signal has stopped it. The kernel tells this once.
    Stopped {
        /// The child.
        pid: i32,
        /// The number of the signal.
        number: i32,
    },
    /// SIGCONT has let it go on. The kernel tells this once.
    Continued {
        /// The child.
        pid: i32,
    },
}

/// A child that has ended and was not reaped. As long as it is not, no other process or group gets
/// its pid as number, so its group can be signalled; [`next`] tells nothing else.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the same child is told again until it is reaped"]
pub struct Ended {
    pid: i32,
    status: WaitStatus,
    is_reaped: bool,
}

impl Ended {
    /// The child.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Takes its status; its pid may then mean another process.
    ///
    /// # Errors
    /// Those of waitid(2) but ECHILD: another thread has reaped it.
    pub fn reap(self) -> io::Result<WaitStatus> {
        if !self.is_reaped {
            wait(libc::P_PID, self.pid, libc::WEXITED)?;
        }
        Ok(self.status)
    }
}

/// Tells one thing that has happened to a child, if there is one. Call it until there is none.
///
/// Of a child that was stopped and went on before it is asked about, only the latter is told. A
/// child that another process traces is told to have ended when the tracer has let it go.
///
/// # Errors
/// Those of waitid(2) but ECHILD.
pub fn next() -> io::Result<Option<Change>> {
    let stops = libc::WSTOPPED | libc::WCONTINUED;
    loop {
        let seen = match wait(libc::P_ALL, 0, libc::WEXITED | stops | libc::WNOWAIT) {
            Ok(None) => return Ok(None),
            Ok(Some(seen)) => seen,
            // A system-call filter may refuse it alone.
            Err(error) => return next_by_wait4().map_err(|_| error),
        };
        let pid = seen.pid;
        if let Some(status) = seen.ended() {
            return Ok(Some(Change::Ended(Ended { pid, status, is_reaped: false })));
        }
        // What counts is what is taken: the child may have gone on or ended since.
        let Some(taken) = wait(libc::P_PID, pid, stops)? else { continue };
        match taken.code {
            libc::CLD_STOPPED => return Ok(Some(Change::Stopped { pid, number: taken.status })),
            libc::CLD_CONTINUED => return Ok(Some(Change::Continued { pid })),
            _ => stop_tracing(pid, taken.status),
        }
    }
}

/// The same without waitid(2), which reaps at once.
fn next_by_wait4() -> io::Result<Option<Change>> {
    let options = libc::WNOHANG | libc::WUNTRACED | libc::WCONTINUED;
    loop {
        let mut status = 0;
        // SAFETY: wait4 writes one int to `status`, which lives through the call; a null rusage
        // is allowed.
        let pid = unsafe { libc::wait4(-1, &mut status, options, std::ptr::null_mut()) };
        match Errno::result(pid) {
            // ECHILD: there are no children at all.
            Ok(0) | Err(Errno::ECHILD) => return Ok(None),
            Ok(pid) if libc::WIFSTOPPED(status) => {
                return Ok(Some(Change::Stopped { pid, number: libc::WSTOPSIG(status) }));
            }
            Ok(pid) if libc::WIFCONTINUED(status) => return Ok(Some(Change::Continued { pid })),
            Ok(pid) => {
                let status = decode(status);
                return Ok(Some(Change::Ended(Ended { pid, status, is_reaped: true })));
            }
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Whether this process may ask what has happened to its children; nothing is taken by asking.
///
/// # Errors
/// Those of waitid(2) but ECHILD, where wait4(2) fails as well: children could never be reaped.
pub fn verify() -> io::Result<()> {
    match wait(libc::P_ALL, 0, libc::WEXITED | libc::WNOWAIT) {
        Ok(_) => Ok(()),
        Err(error) => {
            // About a process group that cannot exist.
            let options = libc::WNOHANG;
            // SAFETY: null pointers are allowed; nothing is written.
            let answer = unsafe {
                libc::wait4(-i32::MAX, std::ptr::null_mut(), options, std::ptr::null_mut())
            };
            match Errno::result(answer) {
                Ok(_) | Err(Errno::ECHILD) => Ok(()),
                Err(_) => Err(error),
            }
        }
    }
}

/// What waitid(2) says of a child.
struct Told {
    pid: i32,
    code: i32,
    status: i32,
}

impl Told {
    /// How the child ended, if it has.
    fn ended(&self) -> Option<WaitStatus> {
        let signaled = |core_dumped| WaitStatus::Signaled { number: self.status, core_dumped };
        match self.code {
            libc::CLD_EXITED => Some(WaitStatus::Exited(self.status)),
            libc::CLD_KILLED => Some(signaled(false)),
            libc::CLD_DUMPED => Some(signaled(true)),
            _ => None,
        }
    }
}

/// Of libc because nix refuses statuses of real-time signals, after the child is gone. `__WALL` is
/// for children that a former image of this process made by clone(2) without SIGCHLD.
fn wait(kind: libc::idtype_t, pid: i32, options: i32) -> io::Result<Option<Told>> {
    let Ok(id) = libc::id_t::try_from(pid) else { return Ok(None) };
    loop {
        // SAFETY: an all-zero siginfo_t is a valid one, and waitid only writes to it.
        let (answer, info) = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            (libc::waitid(kind, id, &mut info, options | libc::WNOHANG | libc::__WALL), info)
        };
        match Errno::result(answer) {
            // SAFETY: waitid has filled in the fields of SIGCHLD, or left all of them zero.
            Ok(_) => match unsafe { (info.si_pid(), info.si_status()) } {
                (0, _) => return Ok(None),
                (pid, status) => return Ok(Some(Told { pid, code: info.si_code, status })),
            },
            // There is no such child.
            Err(Errno::ECHILD) => return Ok(None),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Lets go of a child that has made this process its tracer (`PTRACE_TRACEME`) and waits for it: it
/// goes on with its signal as any other does. The SIGTRAP that execve(2) raises then is dropped.
fn stop_tracing(pid: i32, status: i32) {
    let number = match status & 0xff {
        libc::SIGTRAP => 0,
        number => number,
    };
    let (address, data) = (std::ptr::null_mut::<libc::c_void>(), libc::c_long::from(number));
    // SAFETY: to detach touches no memory. It fails only for a child that was killed meanwhile,
    // whose end is told next.
    unsafe { libc::ptrace(libc::PTRACE_DETACH, pid, address, data) };
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use nix::sys::signal::killpg;
    use nix::unistd::Pid;

    use super::*;
    use crate::sys::alone::{Idle, alone, until};
    use crate::sys::process;
    use crate::sys::signal::Signals;

    fn until_next() -> Change {
        until("something has happened to a child", || next().unwrap())
    }

    fn has_group(number: i32) -> bool {
        killpg(Pid::from_raw(number), None).is_ok()
    }

    #[test]
    fn an_ended_child_is_told_until_it_is_reaped() {
        alone("sys::children::tests::an_ended_child_is_told_until_it_is_reaped", || {
            const REAL_TIME: i32 = 40;
            assert_eq!(next().unwrap(), None);
            let idle = Idle::start();
            assert_eq!(next().unwrap(), None);
            process::kill(idle.pid, REAL_TIME).unwrap();
            let Change::Ended(ended) = until_next() else { panic!("it has ended") };
            assert_eq!(ended.pid(), idle.pid);
            assert_eq!(next().unwrap().as_ref(), Some(&Change::Ended(Ended { ..ended })));
            assert!(has_group(idle.pid), "its group is still its own");
            let signaled = WaitStatus::Signaled { number: REAL_TIME, core_dumped: false };
            assert_eq!(ended.reap().unwrap(), signaled);
            assert_eq!(next().unwrap(), None);
            assert!(!has_group(idle.pid));
        });
    }

    #[test]
    fn stops_and_continues_are_told_once() {
        alone("sys::children::tests::stops_and_continues_are_told_once", || {
            let mut signals = Signals::new().unwrap();
            let mut until_raised = || {
                let raised = |signals: &mut Signals| {
                    signals.received().iter().any(|signal| signal.number == libc::SIGCHLD)
                };
                until("SIGCHLD is raised", || raised(&mut signals).then_some(()));
            };
            let idle = Idle::start();
            let pid = idle.pid;
            process::kill(pid, libc::SIGSTOP).unwrap();
            until_raised();
            assert_eq!(next().unwrap(), Some(Change::Stopped { pid, number: libc::SIGSTOP }));
            assert_eq!(next().unwrap(), None);
            process::kill(pid, libc::SIGCONT).unwrap();
            until_raised();
            assert_eq!(next().unwrap(), Some(Change::Continued { pid }));
            assert_eq!(next().unwrap(), None);
            process::kill(pid, libc::SIGTERM).unwrap();
            until_raised();
            let Some(Change::Ended(ended)) = next().unwrap() else { panic!("it has ended") };
            let signaled = WaitStatus::Signaled { number: libc::SIGTERM, core_dumped: false };
            assert_eq!(ended.reap().unwrap(), signaled);
        });
    }

    /// Programs do this to keep debuggers away. Nobody else could end or continue them.
    #[test]
    fn a_child_that_wants_to_be_traced_is_let_go() {
        alone("sys::children::tests::a_child_that_wants_to_be_traced_is_let_go", || {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", "kill -USR1 $$; exit 3"]);
            // SAFETY: the child calls nothing but the kernel before it executes.
            unsafe {
                command.pre_exec(|| {
                    let none = std::ptr::null_mut::<libc::c_void>();
                    Ok(Errno::result(libc::ptrace(libc::PTRACE_TRACEME, 0, none, none))
                        .map(drop)?)
                });
            }
            let mut child = command.spawn().unwrap();
            let Change::Ended(ended) = until_next() else { panic!("it has ended") };
            let signaled = WaitStatus::Signaled { number: libc::SIGUSR1, core_dumped: false };
            assert_eq!(ended.reap().unwrap(), signaled);
            child.wait().unwrap_err();
        });
    }

    #[test]
    fn what_waitid_says_is_understood() {
        let ended = |code, status| Told { pid: 2, code, status }.ended();
        assert_eq!(ended(libc::CLD_EXITED, 255), Some(WaitStatus::Exited(255)));
        let signaled = |core_dumped| Some(WaitStatus::Signaled { number: 6, core_dumped });
        assert_eq!(ended(libc::CLD_KILLED, 6), signaled(false));
        assert_eq!(ended(libc::CLD_DUMPED, 6), signaled(true));
        assert_eq!(ended(libc::CLD_STOPPED, 6), None);
    }
}
