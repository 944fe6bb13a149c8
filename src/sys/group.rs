//! Process groups: who is in them, and signals to them.
//!
//! Numbers are used again, but no process gets a pid that any process has as its pid, its group or
//! its session, zombies included. So a group is safe to signal while a child that leads it was not
//! reaped, or while a member that is known lives; at other times its number may be another's.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;

use nix::errno::Errno;

use crate::sys::{proc_pid, process};

/// A line of `/proc/PID/stat` has some 50 numbers of up to 20 digits, and a name.
const STAT_BYTES_MAX: u64 = 4096;

/// How far up a parent is looked for. Nothing is nested so deep, and pids that are used again while
/// it is looked for could lead round in a circle.
const ANCESTORS_MAX: usize = 1000;

/// A process of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its pid.
    pub pid: i32,
    /// Its parent's pid; 0 when that is in another pid namespace.
    pub parent: i32,
    /// Its process group.
    pub group: i32,
    /// The letter of its state, such as `T` when a signal has stopped it; see proc_pid_stat(5).
    pub state: char,
    /// Whether it has ended and was not reaped yet.
    pub has_ended: bool,
    /// The name of its program, which the kernel cuts to 15 bytes.
    pub name: OsString,
}

/// Whether there is a process in a group, those that ended and were not reaped included.
///
/// # Errors
/// Those of kill(2) but EPERM and ESRCH, which answer the question.
pub fn exists(group: i32) -> io::Result<bool> {
    match signal(group, 0) {
        Ok(()) => Ok(true),
        Err(error) if process::is_no_such_process(&error) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(true),
        Err(error) => Err(error),
    }
}

/// The processes of some groups, those that ended and were not reaped included. Asks for every
/// process there is, however many groups; [`exists`] is cheaper. With `hidepid`, processes that
/// this one may not trace are missing.
///
/// # Errors
/// Those of reading `/proc`.
pub fn members(groups: &BTreeSet<i32>) -> io::Result<Vec<Member>> {
    let mut members = Vec::new();
    for pid in proc_pid::pids()? {
        if process::group_of(pid)?.is_some_and(|group| groups.contains(&group)) {
            members.extend(find(pid)?.filter(|member| groups.contains(&member.group)));
        }
    }
    Ok(members)
}

/// The living processes of those of the groups that still are of this process's family: a member
/// descends from it. None of a group that is another's by now.
///
/// # Errors
/// Those of [`members`].
pub fn leftovers(groups: &BTreeSet<i32>) -> io::Result<Vec<Member>> {
    let mut members = members(groups)?;
    let mut ours = BTreeSet::new();
    for member in &members {
        if !ours.contains(&member.group) && is_descendant(member)? {
            ours.insert(member.group);
        }
    }
    members.retain(|member| ours.contains(&member.group) && !member.has_ended);
    Ok(members)
}

/// Signals the [`leftovers`] of a group whose leader may have been reaped. No living process left
/// is no error.
///
/// A child among them cannot lose the number before the signal is sent, as only this process could
/// reap it. A more distant descendant could, if it were reaped and all pids were used within that
/// moment.
///
/// # Errors
/// Those of [`leftovers`], and of [`signal`] but ESRCH: they have ended meanwhile.
pub fn signal_leftovers(group: i32, number: i32) -> io::Result<()> {
    if leftovers(&BTreeSet::from([group]))?.is_empty() {
        return Ok(());
    }
    match signal(group, number) {
        Err(error) if process::is_no_such_process(&error) => Ok(()),
        sent => sent,
    }
}

/// The living children of this process, whatever their groups.
///
/// # Errors
/// Those of reading `/proc`.
pub fn children() -> io::Result<Vec<Member>> {
    let own = process::own_pid();
    let mut children = Vec::new();
    for pid in proc_pid::pids()? {
        children.extend(find(pid)?.filter(|it| it.parent == own && !it.has_ended));
    }
    Ok(children)
}

/// Sends a signal by number to every process of a group that is known to be the one that is meant.
/// Members that may not be signalled are left out; that all of them are is an error.
///
/// # Errors
/// Those of kill(2); ESRCH for groups 0 and 1, which would mean other processes.
pub fn signal(group: i32, number: i32) -> io::Result<()> {
    if group <= 1 {
        return Err(Errno::ESRCH.into());
    }
    // SAFETY: kill touches no memory. A group above one is never every process there is.
    let answer = unsafe { libc::kill(-group, number) };
    Ok(Errno::result(answer).map(drop)?)
}

/// Whether this process is the parent of a member, or one of the parent's own parents.
fn is_descendant(member: &Member) -> io::Result<bool> {
    let own = process::own_pid();
    let mut parent = member.parent;
    for _ in 0..ANCESTORS_MAX {
        if parent == own {
            return Ok(true);
        }
        let Some(found) = find(parent)? else { return Ok(false) };
        parent = found.parent;
    }
    Ok(false)
}

fn find(pid: i32) -> io::Result<Option<Member>> {
    let Some(stat) = proc_pid::read(pid, "stat", STAT_BYTES_MAX)? else { return Ok(None) };
    let member = parse(pid, &stat);
    member.map(Some).ok_or_else(|| io::Error::other(format!("/proc/{pid}/stat is cut short")))
}

/// Takes the fields by their numbers in proc_pid_stat(5). The second is the name, in parentheses;
/// it may hold anything, parentheses too.
fn parse(pid: i32, stat: &[u8]) -> Option<Member> {
    let start = stat.iter().position(|byte| *byte == b'(')?;
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let name = OsString::from_vec(stat.get(start + 1..end)?.to_vec());
    let fields = std::str::from_utf8(&stat[end + 1..]).ok()?;
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3).copied();
    let state = field(3)?.chars().next()?;
    let thread_count: u32 = field(20)?.parse().ok()?;
    Some(Member {
        pid,
        parent: field(4)?.parse().ok()?,
        group: field(5)?.parse().ok()?,
        state,
        // The state is that of the first thread, which may end before the others do.
        has_ended: matches!(state, 'Z' | 'X') && thread_count <= 1,
        name,
    })
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command, Stdio};

    use super::*;
    use crate::sys::alone::{alone, until};
    use crate::sys::children::{Change, Ended, next};
    use crate::sys::process::WaitStatus;
    use crate::sys::subreaper;

    /// A shell that leads a group, and a job that it leaves there until its input is closed.
    struct Shell {
        pid: i32,
        job: i32,
        child: Child,
    }

    impl Shell {
        fn start(then: &str) -> Shell {
            let script = format!("exec 3<&0; cat <&3 >/dev/null & echo $!; {then}");
            let mut command = Command::new("/bin/sh");
            command.args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child = command.process_group(0).spawn().unwrap();
            let mut line = String::new();
            BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
            let pid = child.id().try_into().unwrap();
            Shell { pid, job: line.trim().parse().unwrap(), child }
        }
    }

    fn until_ended(pid: i32) -> Ended {
        until("a child has ended", || match next().unwrap() {
            Some(Change::Ended(ended)) => Some(ended).filter(|ended| ended.pid() == pid),
            _ => None,
        })
    }

    #[test]
    fn leftovers_come_to_a_subreaper_and_get_its_signal() {
        alone("sys::group::tests::leftovers_come_to_a_subreaper_and_get_its_signal", || {
            subreaper::set(true).unwrap();
            let Shell { pid: shell, job, child: _child } = Shell::start("exit");
            let leader = until_ended(shell);
            let groups = BTreeSet::from([shell]);
            let found = members(&groups).unwrap();
            let of = |pid| found.iter().find(|member| member.pid == pid).unwrap();
            assert!(of(shell).has_ended && of(shell).state == 'Z' && of(shell).name == "sh");
            assert!(!of(job).has_ended && found.len() == 2, "{found:?}");
            assert_eq!((of(job).group, of(job).parent), (shell, process::own_pid()));
            // It may have executed its program meanwhile, and has another name then.
            let pids = |members: Vec<Member>| members.iter().map(|it| it.pid).collect::<Vec<_>>();
            assert_eq!(pids(leftovers(&groups).unwrap()), [job]);
            assert!(pids(children().unwrap()).contains(&job));

            assert_eq!(leader.reap().unwrap(), WaitStatus::Exited(0));
            assert_eq!(process::group_of(shell).unwrap(), None);
            assert_eq!(process::group_of(job).unwrap(), Some(shell));
            signal_leftovers(shell, libc::SIGTERM).unwrap();
            let ended = until_ended(job);
            assert!(exists(shell).unwrap());
            signal_leftovers(shell, libc::SIGTERM).unwrap();
            assert!(leftovers(&groups).unwrap().is_empty(), "nobody lives");
            let signaled = WaitStatus::Signaled { number: libc::SIGTERM, core_dumped: false };
            assert_eq!(ended.reap().unwrap(), signaled);
            assert!(!exists(shell).unwrap());
            assert!(members(&groups).unwrap().is_empty());
        });
    }

    #[test]
    fn the_group_of_another_family_gets_no_signal() {
        alone("sys::group::tests::the_group_of_another_family_gets_no_signal", || {
            let Shell { pid: shell, job, child: _child } = Shell::start("exit");
            let leader = until_ended(shell);
            // The leader is still a child, so its group is still ours.
            let groups = BTreeSet::from([shell]);
            assert_eq!(leftovers(&groups).unwrap().len(), 1);
            leader.reap().unwrap();
            signal_leftovers(shell, libc::SIGKILL).unwrap();
            let left = members(&groups).unwrap();
            assert!(left.iter().any(|member| member.pid == job && !member.has_ended));
        });
    }

    #[test]
    fn a_grandchild_is_family_too() {
        let mut shell = Shell::start("wait");
        let member = find(shell.job).unwrap().unwrap();
        assert_eq!(member.parent, shell.pid);
        assert!(is_descendant(&member).unwrap());
        let own = find(process::own_pid()).unwrap().unwrap();
        assert!(!is_descendant(&own).unwrap());
        // Closes the input.
        shell.child.wait().unwrap();
    }

    #[test]
    fn no_signal_goes_to_more_than_a_group() {
        for group in [i32::MIN, -1, 0, 1] {
            let error = signal(group, 0).unwrap_err();
            assert!(process::is_no_such_process(&error), "{group}: {error}");
            assert!(!exists(group).unwrap());
        }
    }

    #[test]
    fn any_name_is_understood() {
        let line = |name: &[u8], state: &str, threads: u32| {
            let rest = format!(") {state} 5 6 7 0 -1 8 0 0 0 0 0 0 0 0 20 0 {threads} 0 77 0\n");
            parse(12, &[b"12 (", name, rest.as_bytes()].concat()).unwrap()
        };
        let member = line(b"a) R (\xff\n", "T", 1);
        assert_eq!(member.name, OsString::from_vec(b"a) R (\xff\n".to_vec()));
        assert_eq!((member.parent, member.group), (5, 6));
        assert_eq!((member.state, member.has_ended), ('T', false));
        assert!(line(b"a", "Z", 1).has_ended);
        assert!(!line(b"a", "Z", 2).has_ended, "another thread lives");
        assert_eq!(parse(12, b"12 (a) S 5"), None);
    }
}
