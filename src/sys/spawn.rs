//! Starting a program the way posix_spawn(3) does: the child shares the parent's memory until it
//! execs, and the parent waits that long. No page is copied, and the outcome is known when the call
//! returns.

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::RawFd;

use nix::errno::Errno;

use crate::sys::limit::Limit;
use crate::sys::session::Leads;
use crate::sys::signal::{DEFAULT_ACTION, KERNEL_SET_BYTES, Mask, SIGNAL_MAX};

/// The child's stack until it execs: a few libc wrappers deep, with room to spare. It is on the
/// parent's own stack, because mapping and unmapping memory costs more than the whole start.
const STACK_BYTES: usize = 16 * 1024;

/// Which file to execute; PATH is not searched.
#[derive(Clone, Copy, Debug)]
pub enum Program<'a> {
    /// The file that has this name now.
    Path(&'a CString),
    /// The file open as this descriptor, even if its name has changed.
    Descriptor(RawFd),
}

/// A program to start, and with what settings.
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
    /// Descriptors above 2 that it inherits, under the same numbers; all others are close-on-exec.
    pub inherited: &'a [RawFd],
    /// Its standard input, output and error; the parent's when absent.
    pub stdio: Option<[RawFd; 3]>,
    /// What it becomes the leader of.
    pub leads: Leads,
    /// Its signal mask. Dispositions are reset to their defaults.
    pub mask: Mask,
    /// Its limit of open files.
    pub open_files: Limit,
    /// Its nice level, if it is to be set.
    pub nice: Option<i32>,
    /// The signal that it gets when this process dies.
    pub death_signal: Option<i32>,
}

/// A program that was started.
#[derive(Debug)]
pub struct Spawned {
    /// Its pid, which is also its process group.
    pub pid: i32,
    /// Why its nice level could not be set, if that failed; it runs all the same.
    pub nice_error: Option<io::Error>,
}

/// What the child reports to the parent in their shared memory.
#[derive(Clone, Copy, Default)]
struct Outcome {
    exec_errno: i32,
    chdir_failed: bool,
    nice_errno: i32,
}

/// The child's input; everything that needs allocation is made before the clone.
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
/// Those of clone(2) and execve(2), and one that names the directory if that cannot be entered. No
/// process is left running.
pub fn spawn(plan: &Plan<'_>) -> io::Result<Spawned> {
    let mut child = Child {
        plan,
        arguments: pointers(plan.arguments),
        environment: pointers(plan.environment),
        parent: nix::unistd::getpid().as_raw(),
        outcome: Outcome::default(),
    };
    let mut stack = [const { MaybeUninit::<u128>::uninit() }; STACK_BYTES / size_of::<u128>()];
    // SAFETY: CLONE_VFORK suspends this thread until the child has exec'd or exited, so `child` and
    // `stack` outlive the child's use of them and nothing else runs in this memory meanwhile. The
    // stack grows down from its aligned end. Signals that have a handler are blocked (see
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
    // SAFETY: `outcome` was initialised above; the child wrote it through a pointer that the
    // compiler has seen escape, and no longer uses this memory.
    let outcome = unsafe { (&raw const child.outcome).read_volatile() };
    if outcome.exec_errno != 0 {
        wait_for(pid);
        let error = io::Error::from_raw_os_error(outcome.exec_errno);
        return Err(match plan.directory.filter(|_| outcome.chdir_failed) {
            None => error,
            Some(directory) => {
                let directory = directory.to_string_lossy();
                io::Error::other(format!("cannot enter {directory}: {error}"))
            }
        });
    }
    let nice_error = match outcome.nice_errno {
        0 => None,
        errno => Some(io::Error::from_raw_os_error(errno)),
    };
    Ok(Spawned { pid, nice_error })
}

/// Reaps a child that failed to exec, so that it is never taken for a worker.
fn wait_for(pid: libc::pid_t) {
    // SAFETY: a null status and rusage are allowed; the child is past its last instruction.
    while unsafe { libc::wait4(pid, std::ptr::null_mut(), 0, std::ptr::null_mut()) } < 0
        && Errno::last() == Errno::EINTR
    {}
}

/// A null-terminated list of pointers to strings, as execve(2) wants it.
pub(super) fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect()
}

/// Executes a program; returns only if that failed, with errno set.
///
/// # Safety
/// Both lists must end with null, and every other pointer must be to a terminated string.
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

/// The child, from clone to exec. Makes system calls only: it must not allocate, panic or unwind in
/// memory that is the parent's.
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
        // Before signals are unblocked: a handler must not run here, and an ignored signal would
        // stay ignored in the program. Raw system calls, because libc's wrapper rejects its own
        // signals 32 and 33, which a launcher that used glibc's posix_spawn(3) has left ignored.
        let old_action: *mut libc::c_void = std::ptr::null_mut();
        let (action, size) = (DEFAULT_ACTION.as_ptr(), KERNEL_SET_BYTES);
        for number in 1..=SIGNAL_MAX {
            libc::syscall(libc::SYS_rt_sigaction, number, action, old_action, size);
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
            child.outcome.nice_errno = Errno::last_raw();
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
            child.outcome.exec_errno = Errno::last_raw();
            child.outcome.chdir_failed = true;
            libc::_exit(127)
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, plan.mask.as_ptr(), std::ptr::null_mut());
        execute(plan.program, &child.arguments, &child.environment);
        child.outcome.exec_errno = Errno::last_raw();
        // Not `exit`, which would run the parent's exit handlers.
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
        wait_for(started.pid);
        drop(write);
        let mut output = String::new();
        File::from(read).read_to_string(&mut output).unwrap();
        assert_eq!(output, "/usr\n");
        let (_read, write) = descriptor::pipe().unwrap();
        let error = start(&CString::from(c"/nowhere"), write.as_raw_fd()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot enter /nowhere: No such file or directory (os error 2)"
        );
    }
}
