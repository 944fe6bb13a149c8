//! Sessions: the controlling terminal that the processes of one share, and the share of the
//! processors that they have together (credentials(7), sched(7) "The autogroup feature").

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;

use nix::unistd::{Pid, getsid};

/// What a started program becomes the leader of. Either way its pid is its process group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leads {
    /// A process group in the session of this process: the controlling terminal, where there is
    /// one, is the program's too. It can type into it (TIOCSTI), and is stopped when it reads from
    /// it.
    Group,
    /// A session without a controlling terminal. The kernel gives it an autogroup of nice level 0.
    Session,
}

/// Whether this process has a controlling terminal, as far as can be told.
pub fn has_controlling_terminal() -> bool {
    match fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(terminal_number) {
        Some(number) => number != 0,
        // Without /proc: to open it fails where there is none. Neither waits for a modem.
        None => OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOCTTY | libc::O_NONBLOCK)
            .open("/dev/tty")
            .is_ok(),
    }
}

/// `tty_nr`, the seventh field of proc_pid_stat(5); 0 means no terminal.
fn terminal_number(stat: &str) -> Option<i32> {
    // The name, in parentheses, may hold anything; what stands after it begins with the third.
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(4)?.parse().ok()
}

/// Whether a process leads a session; false for one that is gone.
pub fn is_leader(pid: i32) -> bool {
    // 0 would mean this process.
    pid > 0 && getsid(Some(Pid::from_raw(pid))).is_ok_and(|session| session.as_raw() == pid)
}

/// The nice level of a process's autogroup, which is that of its whole session; `None` where the
/// kernel has no autogroups, the process is in none, or it is gone.
pub fn autogroup_level(pid: i32) -> Option<i32> {
    level_in(&fs::read_to_string(autogroup(pid)).ok()?)
}

/// The level in `/autogroup-25 nice 5`.
fn level_in(text: &str) -> Option<i32> {
    text.trim_end().rsplit_once(" nice ")?.1.parse().ok()
}

/// Sets the nice level of a process's autogroup.
///
/// # Errors
/// `WouldBlock` where another level was set on this machine less than [`AUTOGROUP_PAUSE_MILLIS`]
/// ago and this process is not privileged; `PermissionDenied` for a level below 0 that this process
/// may not set, or for a process that it may not change.
pub fn set_autogroup_level(pid: i32, level: i32) -> io::Result<()> {
    let mut file = File::options().write(true).open(autogroup(pid))?;
    // In one piece: each write(2) sets the level.
    file.write_all(level.to_string().as_bytes())
}

/// For how long nobody without CAP_SYS_ADMIN can set a level after somebody has set one, in
/// milliseconds: HZ/10 in `kernel/sched/autogroup.c`.
pub const AUTOGROUP_PAUSE_MILLIS: u64 = 100;

fn autogroup(pid: i32) -> String {
    format!("/proc/{pid}/autogroup")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_terminal_stands_after_any_name() {
        let rest = "S 17 42 42 34816 42 4194304 113";
        for name in ["sh", "a b", "a) S 1 2 3 0", "(("] {
            assert_eq!(terminal_number(&format!("42 ({name}) {rest}\n")), Some(34816));
        }
        assert_eq!(terminal_number("42 (sh) S 17 42 42 0 -1 4194304"), Some(0));
        assert_eq!(terminal_number("42 (sh) S 17 42"), None);
    }

    #[test]
    fn the_level_of_an_autogroup_may_be_negative() {
        assert_eq!(level_in("/autogroup-25 nice 5\n"), Some(5));
        assert_eq!(level_in("/autogroup-1771 nice -20\n"), Some(-20));
        assert_eq!(level_in(""), None);
    }

    #[test]
    fn nobody_but_its_leader_leads_a_session() {
        let session = getsid(None).unwrap();
        let own = Pid::this();
        assert_eq!(is_leader(own.as_raw()), session == own);
        assert!(!is_leader(0));
        assert!(!is_leader(i32::MAX));
    }
}
