//! What the kernel says of a process; see proc(5).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::Duration;

use nix::fcntl::OFlag;

use crate::support::wait;

/// A line of `/proc/PID/stat`.
#[derive(Clone, Debug)]
pub(crate) struct Stat {
    pub(crate) pid: i32,
    /// The program's name, cut to 15 bytes.
    pub(crate) name: String,
    pub(crate) state: char,
    pub(crate) parent: i32,
    pub(crate) group: i32,
    pub(crate) session: i32,
    pub(crate) nice: i32,
    /// How long the machine had run when it was started.
    pub(crate) started_after: Duration,
    /// Processor time used, in ticks of a hundredth of a second.
    pub(crate) ticks: u64,
}

/// The facts of a process, zombies included; `None` once it is gone.
pub(crate) fn stat(pid: i32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything, parentheses too.
    let (start, rest) = text.rsplit_once(')')?;
    let (_, name) = start.split_once('(')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |index: usize| fields[index].parse().unwrap();
    Some(Stat {
        pid,
        name: name.to_owned(),
        state: fields[0].chars().next()?,
        parent: number(1),
        group: number(2),
        session: number(3),
        nice: number(16),
        started_after: Duration::from_millis(fields[19].parse::<u64>().unwrap() * 10),
        ticks: fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap(),
    })
}

/// The children of a process, zombies included.
pub(crate) fn children(parent: i32) -> Vec<Stat> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| stat(entry.file_name().to_str()?.parse().ok()?))
        .filter(|child| child.parent == parent)
        .collect()
}

/// Whether a process has ended; a zombie has.
pub(crate) fn has_ended(pid: i32) -> bool {
    stat(pid).is_none_or(|stat| stat.state == 'Z')
}

/// A field of `/proc/PID/status`.
pub(crate) fn status(pid: i32, field: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap().trim().to_owned()
}

/// A set of signals in `/proc/PID/status`, such as `SigBlk`: signal N is bit N-1.
pub(crate) fn signal_set(pid: i32, field: &str) -> u64 {
    u64::from_str_radix(&status(pid, field), 16).unwrap()
}

/// The open descriptors and what they lead to; none of a process that is gone.
pub(crate) fn descriptors(pid: i32) -> BTreeMap<i32, PathBuf> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return BTreeMap::new() };
    let open = entries.flatten().filter_map(|entry| {
        let number = entry.file_name().to_str()?.parse().ok()?;
        Some((number, fs::read_link(entry.path()).ok()?))
    });
    open.collect()
}

/// A file that is empty until execve(2) has laid out arguments and environment, which is a moment
/// after the master goes on.
fn laid_out(pid: i32, name: &str) -> Vec<u8> {
    let read = || fs::read(format!("/proc/{pid}/{name}")).ok().filter(|bytes| !bytes.is_empty());
    wait::until_some(&format!("process {pid} has {name}"), read, || format!("{:?}", stat(pid)))
}

/// The environment that the program was executed with, `NAME=value`, sorted.
pub(crate) fn environment(pid: i32) -> Vec<OsString> {
    let bytes = laid_out(pid, "environ");
    let entries = bytes.split(|byte| *byte == 0).filter(|entry| !entry.is_empty());
    let mut entries: Vec<OsString> =
        entries.map(|entry| OsString::from_vec(entry.to_vec())).collect();
    entries.sort();
    entries
}

/// The soft and the hard limit of open files.
pub(crate) fn open_files(pid: i32) -> (u64, u64) {
    let text = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let mut numbers = line.split_ascii_whitespace().map(|number| number.parse().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

/// The command line, words joined by blanks, as ps(1) shows it.
pub(crate) fn command_line(pid: i32) -> String {
    String::from_utf8_lossy(&laid_out(pid, "cmdline")).replace('\0', " ").trim().to_owned()
}

/// The working directory; ` (deleted)` is behind one that is gone.
pub(crate) fn directory(pid: i32) -> PathBuf {
    fs::read_link(format!("/proc/{pid}/cwd")).unwrap()
}

/// The flags of an open descriptor, as open(2) takes them.
pub(crate) fn flags(pid: i32, descriptor: i32) -> OFlag {
    let text = fs::read_to_string(format!("/proc/{pid}/fdinfo/{descriptor}")).unwrap();
    let octal = text.lines().find_map(|line| line.strip_prefix("flags:")).unwrap().trim();
    OFlag::from_bits_retain(i32::from_str_radix(octal, 8).unwrap())
}

/// The most memory that was ever resident, in bytes.
pub(crate) fn memory(pid: i32) -> u64 {
    let kibibytes = status(pid, "VmHWM");
    kibibytes.strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
}

/// Waits until a process does nothing for half a second: it sleeps whenever it is looked at. One
/// that is woken for ever, or asks again and again, is never seen to, however busy the machine is.
pub(crate) fn until_idle(pid: i32) {
    let is_idle = || {
        let mut count = 0;
        let mut asleep = 0;
        wait::throughout(Duration::from_millis(500), || {
            count += 1;
            asleep += u32::from(stat(pid).unwrap().state == 'S');
        });
        // Now and then there is something to do.
        asleep * 10 >= count * 9
    };
    let shown = || format!("{:?}", stat(pid));
    wait::until_some("it has nothing to do", || is_idle().then_some(()), shown);
}
