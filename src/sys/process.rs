//! Processes: reaping children, sending signals, and facts about this process.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::sys::stat::Mode;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{Pid, getpgid};

/// How a child ended; see wait(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitStatus {
    /// It exited with this code.
    Exited(i32),
    /// A signal killed it.
    Signaled {
        /// The signal's number, which may be a real-time one.
        number: i32,
        /// Whether it dumped core.
        core_dumped: bool,
    },
}

pub(super) fn decode(status: libc::c_int) -> WaitStatus {
    match libc::WIFSIGNALED(status) {
        true => WaitStatus::Signaled {
            number: libc::WTERMSIG(status),
            core_dumped: libc::WCOREDUMP(status),
        },
        false => WaitStatus::Exited(libc::WEXITSTATUS(status)),
    }
}

/// Whether a process is a child of this one that is not reaped yet; reaps nothing.
///
/// # Errors
/// Those of waitid(2) except ECHILD, which alone means no: with other errors it may be a child.
pub fn is_child(pid: i32) -> io::Result<bool> {
    let Ok(id) = libc::id_t::try_from(pid) else { return Ok(false) };
    // SAFETY: an all-zero siginfo_t is a valid one, and waitid only writes to it.
    let answer = unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        libc::waitid(libc::P_PID, id, &mut info, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT)
    };
    match Errno::result(answer) {
        Ok(_) => Ok(true),
        Err(Errno::ECHILD) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Sends SIGKILL to every process of a group.
///
/// # Errors
/// Those of kill(2).
pub fn kill_group(group: i32) -> io::Result<()> {
    if group <= 1 {
        return Err(Errno::ESRCH.into());
    }
    // A group above 1 never means all processes.
    Ok(killpg(Pid::from_raw(group), Signal::SIGKILL)?)
}

/// Whether an error of kill(2) or of reading `/proc` is ESRCH.
pub fn is_no_such_process(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ESRCH)
}

/// Sends a signal to a child that is not reaped yet, so that the pid cannot have been reused.
///
/// # Errors
/// Those of kill(2).
pub fn kill(pid: i32, number: i32) -> io::Result<()> {
    if pid <= 1 {
        return Err(Errno::ESRCH.into());
    }
    // SAFETY: kill touches no memory. A pid above 1 means one process other than init.
    let answer = unsafe { libc::kill(pid, number) };
    Ok(Errno::result(answer).map(drop)?)
}

/// The process group of a process, a dead one that was not reaped yet included; `None` when there
/// is no such process.
///
/// # Errors
/// Those of getpgid(2) but ESRCH; there is such a process.
pub fn group_of(pid: i32) -> io::Result<Option<i32>> {
    if pid <= 0 {
        // Zero would mean this process.
        return Ok(None);
    }
    match getpgid(Some(Pid::from_raw(pid))) {
        Ok(group) => Ok(Some(group.as_raw())),
        Err(Errno::ESRCH) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// The parent's pid of a process or zombie; `None` if there is no such process.
///
/// # Errors
/// Those of open(2) and read(2) of its file in `/proc`; the process may exist then.
pub fn parent_of(pid: i32) -> io::Result<Option<i32>> {
    let stat = match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat,
        Err(error) if is_no_such_process(&error) => return Ok(None),
        Err(error) if error.kind() == ErrorKind::NotFound && Path::new("/proc/self").exists() => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    // The name, in parentheses, may contain anything; state and parent follow it.
    let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_ascii_whitespace().nth(1));
    let parent = parent.and_then(|parent| parent.parse().ok());
    parent.map(Some).ok_or_else(|| io::Error::other(format!("/proc/{pid}/stat is cut short")))
}

/// The resident memory of a process in bytes; `None` if there is no such process, or no `/proc`.
pub fn resident_bytes(pid: i32) -> Option<u64> {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * sysconf(libc::_SC_PAGESIZE)?)
}

/// The age of this process, including its previous images; `None` without `/proc`.
pub fn own_age() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    // `starttime`, the 22nd field, counts from boot, including sleep; the fields after the name
    // begin with the third.
    let ticks: u64 = rest.split_ascii_whitespace().nth(19)?.parse().ok()?;
    let nanos = ticks.checked_mul(1_000_000_000)? / sysconf(libc::_SC_CLK_TCK)?;
    let now = Duration::from(clock_gettime(ClockId::CLOCK_BOOTTIME).ok()?);
    Some(now.saturating_sub(Duration::from_nanos(nanos)))
}

/// A positive value of sysconf(3).
fn sysconf(name: libc::c_int) -> Option<u64> {
    // SAFETY: sysconf touches no memory of ours.
    let number = unsafe { libc::sysconf(name) };
    u64::try_from(number).ok().filter(|number| *number > 0)
}

/// The pid of the parent of this process.
pub fn own_parent() -> i32 {
    Pid::parent().as_raw()
}

/// The pid of this process.
pub fn own_pid() -> i32 {
    Pid::this().as_raw()
}

/// The umask of this process. Only setting it reads it on every kernel.
pub fn umask() -> u32 {
    let mask = nix::sys::stat::umask(Mode::empty());
    nix::sys::stat::umask(mask);
    mask.bits()
}

/// The nice level of this process.
pub fn nice() -> i32 {
    Errno::clear();
    // SAFETY: getpriority touches no memory. -1 is also a valid level, so errno is cleared first.
    unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }
}

/// Sets the nice level of this process to an absolute value.
///
/// # Errors
/// Those of setpriority(2).
pub fn set_nice(level: i32) -> io::Result<()> {
    // SAFETY: setpriority touches no memory.
    let answer = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, level) };
    Ok(Errno::result(answer).map(drop)?)
}
