//! Process attributes that no exec of ours changes: identity, capabilities, namespaces, scheduling.
//! A candidate that differs in them cannot be reproduced by executing its program.

use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;

use nix::errno::Errno;

/// The relevant lines of `/proc/self/status`; see proc_pid_status(5). Users and groups are the
/// real, effective, saved and file system one.
const STATUS: [&str; 13] = [
    "Uid",
    "Gid",
    "Groups",
    "CapInh",
    "CapPrm",
    "CapEff",
    "CapBnd",
    "CapAmb",
    "NoNewPrivs",
    "Seccomp",
    "Seccomp_filters",
    "Cpus_allowed",
    "Mems_allowed",
];

/// Files compared as a whole. A kernel may lack the last ones.
const FILES: [(&str, &str); 3] = [
    ("cgroup", "/proc/self/cgroup"),
    ("oom_score_adj", "/proc/self/oom_score_adj"),
    ("security label", "/proc/self/attr/current"),
];

/// Relevant fields of `/proc/self/stat`, by their number in proc_pid_stat(5).
const STAT: [(&str, usize); 3] = [("nice", 19), ("rt_priority", 40), ("scheduling policy", 41)];

/// `IOPRIO_WHO_PROCESS` of ioprio_get(2).
const THIS_PROCESS: libc::c_int = 1;

/// Identity, capabilities, namespaces, control groups and scheduling of this process: names and
/// values, always in the same order.
///
/// # Errors
/// Those of reading `/proc/self`, with the file.
pub fn facts() -> io::Result<Vec<(String, String)>> {
    let mut facts = Vec::new();
    let mut add = |name: &str, value: &str| {
        let words: Vec<&str> = value.split_ascii_whitespace().collect();
        facts.push((name.to_owned(), words.join(" ")));
    };
    let status = read("/proc/self/status")?;
    for line in status.lines() {
        if let Some((name, value)) = line.split_once(':').filter(|(name, _)| STATUS.contains(name))
        {
            add(name, value);
        }
    }
    for (name, target) in namespaces()? {
        add(&format!("the namespace {name}"), &target);
    }
    let root = fs::metadata("/")?;
    add("the root directory", &format!("{}:{}", root.dev(), root.ino()));
    for (name, file) in FILES {
        // Without a security module its file cannot be read.
        if let Ok(value) = read(file) {
            add(name, &value);
        }
    }
    let stat = read("/proc/self/stat")?;
    // The program's name, the second field, in parentheses, may contain anything.
    let (_, fields) = stat.rsplit_once(')').ok_or(io::ErrorKind::InvalidData)?;
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    for (name, number) in STAT {
        add(name, fields.get(number - 3).copied().unwrap_or_default());
    }
    for (name, value) in numbers() {
        add(name, &value.to_string());
    }
    Ok(facts)
}

/// The namespaces of this process, and those for its future children.
fn namespaces() -> io::Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc/self/ns")? {
        let entry = entry?;
        // A pid namespace for children cannot be read before it has its first process.
        let target = fs::read_link(entry.path()).unwrap_or_else(|_| "none yet".into());
        let name = entry.file_name().to_string_lossy().into_owned();
        found.push((name, target.to_string_lossy().into_owned()));
    }
    found.sort();
    Ok(found)
}

/// Attributes available by system call only. A sandbox that refuses one refuses it in both
/// processes.
fn numbers() -> [(&'static str, libc::c_long); 3] {
    let value = |answer: libc::c_long| Errno::result(answer).unwrap_or(-1);
    // SAFETY: none of these touches memory. 0 means this process, and a persona of all ones is a
    // query.
    unsafe {
        [
            ("personality", value(libc::personality(0xffff_ffff).into())),
            ("securebits", value(libc::prctl(libc::PR_GET_SECUREBITS).into())),
            ("ioprio", value(libc::syscall(libc::SYS_ioprio_get, THIS_PROCESS, 0))),
        ]
    }
}

fn read(path: &str) -> io::Result<String> {
    let text = fs::read(path).map_err(|error| io::Error::other(format!("{path}: {error}")))?;
    // A label may end in a NUL.
    let text = CStr::from_bytes_until_nul(&text).map_or(&text[..], CStr::to_bytes);
    Ok(String::from_utf8_lossy(text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_attributes_are_listed() {
        let facts = facts().unwrap();
        let mut names: Vec<&str> = facts.iter().map(|(name, _)| name.as_str()).collect();
        for name in ["Uid", "CapEff", "the namespace net", "cgroup", "nice", "securebits"] {
            assert!(names.contains(&name), "{name}: {names:?}");
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), facts.len(), "each name stands once");
        let uid = nix::unistd::getuid();
        assert_eq!(facts[0], ("Uid".to_owned(), format!("{uid} {uid} {uid} {uid}")));
        assert_eq!(super::facts().unwrap(), facts);
    }
}
