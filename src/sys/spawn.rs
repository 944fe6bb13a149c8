//! Starting a program the way posix_spawn(3) does: the child borrows the parent's memory until it
//! executes, and the parent waits that long. No page is copied, and the outcome is known at once.

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::RawFd;

use nix::errno::Errno;

use crate::sys::limit::Limit;
use crate::sys::session::Leads;
use crate::sys::signal::{DEFAULT_ACTION, KERNEL_SET_BYTES, Mask, SIGNAL_MAX};

/// The child's stack until it executes: a few libc wrappers deep, with room to spare. A part of the
/// parent's own: memory that is mapped and unmapped for each child costs more than its start.
const STACK_BYTES: usize = 16 * 1024;

/// Which file to execute; PATH is not searched.
#[derive(Clone, Copy, Debug)]
pub enum Program<'a> {
    /// The one that has this name now.
    Path(&'a CString),
    /// The one that is open under this number, whatever its name means by now.
    Descriptor(RawFd),
}

/// What to start, and how.
#[derive(Debug)]
pub struct Plan<'a> {
    /// The file to execute.
    pub program: Program<'a>,
    /// Its arguments, the first one its own name.
    pub arguments: &'a [CString],
    /// Its whole environment, `NAME=value`.
    pub environment: &'a [CString],
    /// Its working directory; the parent's when absent.
    pub directory: Option<&'a CString>,
    /// Descriptors above 2 that it gets, under the same numbers; all others are close-on-exec.
    pub inherited: &'a [RawFd],
    /// What becomes its standard input, output and error; the parent's when absent.
    pub stdio: Option<[RawFd; 3]>,
    /// Of what it becomes the leader.
    pub leads: Leads,
    /// Its signal mask. Dispositions are the default ones.
    pub mask: Mask,
    /// Its descriptor limit.
    pub open_files: Limit,
    /// Its nice level, if it is to be set.
    pub nice: Option<i32>,
    /// The signal that it gets when this process dies.
    pub death_signal: Option<i32>,
}

/// A program that runs.
#[derive(Debug)]
pub struct Spawned {
    /// Its pid, which is its process group too.
    pub pid: i32,
    /// Why its nice level could not be set, if it could not; it runs all the same.
    pub nice_error: Option<io::Error>,
}

/// What the child leaves for the parent in the memory that they share.
#[derive(Clone, Copy, Default)]
struct Outcome {
    failed: i32,
    has_no_directory: bool,
    nice_failed: i32,
}

/// What the child works from: everything that takes memory was made before.
struct Child<'a> {
    plan: &'a Plan<'a>,
    arguments: Vec<*const libc::c_char>,
    environment: Vec<*const libc::c_char>,
    parent: libc::pid_t,
    outcome: Outcome,
}

/// Starts a program.
///
/// # Errors
/// Those of clone(2) and execve(2), and one that names the directory when that cannot be entered.
/// Nothing is left running then.
pub fn spawn(plan: &Plan<'_>) -> io::Result<Spawned> {
    let mut child = Child {
        plan,
        arguments: pointers(plan.arguments),
        environment: pointers(plan.environment),
        parent: nix::unistd::getpid().as_raw(),
        outcome: Outcome::default(),
    };
    let mut stack = [const { MaybeUninit::<u128>::uninit() }; STACK_BYTES / size_of::<u128>()];
    // SAFETY: CLONE_VFORK suspends this thread until the child has executed or exited, so `child`
    // and `stack` outlive the child's use of them and nothing else runs in this memory meanwhile.
    // The stack grows down from its aligned end. Signals that have a handler are blocked (see
    // `sys::signal`), so no handler runs in the child.
    let pid = unsafe {
        libc::clone(
            run,
            stack.as_mut_ptr().add(stack.len()).cast(),
            libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD,
            (&raw mut child).cast(),
        )
    };
    let pid = Errno::result(pid)?;
    // SAFETY: `outcome` was initialised above; the child wrote it through a pointer the compiler
    // has seen escape, and has ended its use of this memory.
    let outcome = unsafe { (&raw const child.outcome).read_volatile() };
    if outcome.failed != 0 {
        collect(pid);
        let error = io::Error::from_raw_os_error(outcome.failed);
        return Err(match plan.directory.filter(|_| outcome.has_no_directory) {
            None => error,
            Some(directory) => {
                let directory = directory.to_string_lossy();
                io::Error::other(format!("cannot enter {directory}: {error}"))
            }
        });
    }
    let nice_error = match outcome.nice_failed {
        0 => None,
        errno => Some(io::Error::from_raw_os_error(errno)),
    };
    Ok(Spawned { pid, nice_error })
}

/// Reaps a child that is exiting, so that it is never taken for a worker.
fn collect(pid: libc::pid_t) {
    // SAFETY: a null status and rusage are allowed; the child is past its last instruction.
    while unsafe { libc::wait4(pid, std::ptr::null_mut(), 0, std::ptr::null_mut()) } < 0
        && Errno::last() == Errno::EINTR
    {}
}

/// The pointers of strings, ended by null, as execve(2) wants them.
pub(super) fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect()
}

/// Executes a program; returns only when that failed, and errno says why.
///
/// # Safety
/// Every pointer but the last, null one must be to a terminated string.
pub(super) unsafe fn execute(
    program: Program<'_>,
    arguments: &[*const libc::c_char],
    environment: &[*const libc::c_char],
) {
    // SAFETY: the caller keeps the strings; an empty path with AT_EMPTY_PATH means the descriptor.
    unsafe {
        match program {
            Program::Path(path) => {
                libc::execve(path.as_ptr(), arguments.as_ptr(), environment.as_ptr());
            }
            Program::Descriptor(number) => {
                libc::syscall(
                    libc::SYS_execveat,
                    number,
                    c"".as_ptr(),
                    arguments.as_ptr(),
                    environment.as_ptr(),
                    libc::AT_EMPTY_PATH,
                );
            }
        }
    }
}

/// The child, from clone to exec. Calls nothing but the kernel: it must not allocate, panic or
/// unwind in memory that is the parent's.
extern "C" fn run(argument: *mut libc::c_void) -> libc::c_int {
    // SAFETY: `argument` is the `Child` of `spawn`, which waits and does not touch it meanwhile.
    // Every pointer in it is to memory that `spawn` keeps alive. The calls are raw system calls
    // by their libc wrappers.
    unsafe {
        let child = &mut *argument.cast::<Child<'_>>();
        let plan = child.plan;
        // Neither can fail: no process group has the number of a process that has just begun.
        match plan.leads {
            Leads::Group => libc::setpgid(0, 0),
            Leads::Session => libc::setsid(),
        };
        // Before the mask opens: a handler must not run here, and an ignored signal would stay
        // ignored in the program. Not by libc's wrapper: it refuses signals 32 and 33, its own,
        // which a launcher that used posix_spawn(3) of glibc has left ignored.
        let no_answer: *mut libc::c_void = std::ptr::null_mut();
        let (action, size) = (DEFAULT_ACTION.as_ptr(), KERNEL_SET_BYTES);
        for number in 1..=SIGNAL_MAX {
            libc::syscall(libc::SYS_rt_sigaction, number, action, no_answer, size);
        }
        if let Some(number) = plan.death_signal {
            libc::prctl(libc::PR_SET_PDEATHSIG, number);
            // The parent may have died before the line above.
            if libc::getppid() != child.parent {
                libc::_exit(0);
            }
        }
        let open_files =
            libc::rlimit { rlim_cur: plan.open_files.soft, rlim_max: plan.open_files.hard };
        libc::setrlimit(libc::RLIMIT_NOFILE, &open_files);
        if let Some(level) = plan.nice
            && libc::setpriority(libc::PRIO_PROCESS, 0, level) != 0
        {
            child.outcome.nice_failed = Errno::last_raw();
        }
        for number in plan.inherited {
            libc::fcntl(*number, libc::F_SETFD, 0);
        }
        for (target, number) in (0..).zip(plan.stdio.iter().flatten()) {
            libc::dup2(*number, target);
        }
        if let Some(directory) = plan.directory
            && libc::chdir(directory.as_ptr()) != 0
        {
            child.outcome.failed = Errno::last_raw();
            child.outcome.has_no_directory = true;
            libc::_exit(127)
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, plan.mask.as_ptr(), std::ptr::null_mut());
        execute(plan.program, &child.arguments, &child.environment);
        child.outcome.failed = Errno::last_raw();
        // Not `exit`: that would run the parent's exit handlers.
        libc::_exit(127)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;
    use std::os::fd::AsRawFd;

    use super::*;
    use crate::sys::{descriptor, limit};

    /// Starts pwd(1) in a directory.
    fn start(directory: &CString, output: RawFd) -> io::Result<Spawned> {
        let program = CString::from(c"/bin/pwd");
        spawn(&Plan {
            program: Program::Path(&program),
            arguments: &[program.clone(), CString::from(c"-P")],
            environment: &[],
            directory: Some(directory),
            inherited: &[],
            stdio: Some([output; 3]),
            leads: Leads::Group,
            mask: Mask::from_bits(0),
            open_files: limit::open_files()?,
            nice: None,
            death_signal: None,
        })
    }

    #[test]
    fn a_child_starts_in_its_directory() {
        let (read, write) = descriptor::pipe().unwrap();
        let started = start(&CString::from(c"/usr"), write.as_raw_fd()).unwrap();
        collect(started.pid);
        drop(write);
        let mut told = String::new();
        File::from(read).read_to_string(&mut told).unwrap();
        assert_eq!(told, "/usr\n");
        let (_read, write) = descriptor::pipe().unwrap();
        let error = start(&CString::from(c"/nowhere"), write.as_raw_fd()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot enter /nowhere: No such file or directory (os error 2)"
        );
    }
}
