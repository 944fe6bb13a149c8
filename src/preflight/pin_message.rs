//! Pins: how a candidate was executed, so that the master can execute it the same way. A pin
//! consists of fields that every release can read, each `KEY=VALUE` and terminated by a NUL byte,
//! which no value can contain.
//!
//! ```text
//! einhorn-pin 1
//! executable=1048576:1767225600:0
//! umask=18
//! limit=RLIMIT_NOFILE:1024:4096
//! fact=Uid=0 0 0 0
//! before=einhorn
//! after=--
//! after=bin/server
//! variable=PATH=/usr/bin
//! complete=yes
//! ```
//!
//! The option that names the state's descriptor, and its number, go between the `before` and the
//! `after` words. Unknown keys are ignored, so that later releases can add some.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// The maximum size of a pin in bytes. execve(2) allows at most 6 MiB of arguments and environment,
/// of which each word takes at least nine bytes; a pin adds at most ten bytes per word.
pub const PIN_MAX: usize = 16 * 1024 * 1024;

/// The maximum length of the message that accompanies a pin, or says why there is none.
pub const PIN_MESSAGE_MAX: usize = 4 * 1024;

/// The first field of a pin, and the first line of a message.
pub const PIN_TITLE: &str = "einhorn-pin 1";

/// How a candidate was executed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pin {
    /// The size of its executable, and seconds and nanoseconds of its last modification, which
    /// reveal that it was overwritten in place.
    pub executable: (u64, i64, i64),
    /// Its umask.
    pub umask: u32,
    /// Its resource limits.
    pub limits: Vec<PinnedLimit>,
    /// Names and values of process attributes that must equal the master's.
    pub facts: Vec<(String, String)>,
    /// Its command line up to the option that names the state, without the option for a check.
    pub before: Vec<OsString>,
    /// The rest of its command line.
    pub after: Vec<OsString>,
    /// Its environment, `NAME=value`.
    pub environment: Vec<OsString>,
}

/// A resource limit, by its name in getrlimit(2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinnedLimit {
    /// Such as `RLIMIT_NOFILE`.
    pub name: String,
    /// The soft limit.
    pub soft: u64,
    /// The hard limit.
    pub hard: u64,
}

/// Encodes a pin.
pub fn write_pin(pin: &Pin) -> Vec<u8> {
    let Pin { executable, umask, limits, facts, before, after, environment } = pin;
    let (size, seconds, nanoseconds) = executable;
    let mut bytes = Vec::new();
    let mut add = |key: &str, value: &OsStr| {
        bytes.extend_from_slice(key.as_bytes());
        bytes.extend_from_slice(value.as_bytes());
        bytes.push(0);
    };
    add(PIN_TITLE, OsStr::new(""));
    add("executable=", format!("{size}:{seconds}:{nanoseconds}").as_ref());
    add("umask=", umask.to_string().as_ref());
    for PinnedLimit { name, soft, hard } in limits {
        add("limit=", format!("{name}:{soft}:{hard}").as_ref());
    }
    for (name, value) in facts {
        add("fact=", format!("{name}={value}").as_ref());
    }
    for (key, words) in [("before=", before), ("after=", after), ("variable=", environment)] {
        words.iter().for_each(|word| add(key, word));
    }
    add("complete=", "yes".as_ref());
    bytes
}

/// Parses a pin; `None` if it is malformed or truncated.
pub fn parse_pin(bytes: &[u8]) -> Option<Pin> {
    let bytes = bytes.strip_suffix(b"complete=yes\0")?.strip_suffix(b"\0")?;
    let mut fields = bytes.split(|byte| *byte == 0);
    if fields.next() != Some(PIN_TITLE.as_bytes()) {
        return None;
    }
    let mut pin = Pin::default();
    let (mut has_executable, mut has_umask) = (false, false);
    for field in fields {
        let at = field.iter().position(|byte| *byte == b'=')?;
        let (key, value) = (&field[..at], &field[at + 1..]);
        let text = || std::str::from_utf8(value).ok();
        let word = || OsString::from_vec(value.to_vec());
        match key {
            b"executable" => {
                let mut numbers = text()?.splitn(3, ':');
                let size = numbers.next()?.parse().ok()?;
                let seconds = numbers.next()?.parse().ok()?;
                pin.executable = (size, seconds, numbers.next()?.parse().ok()?);
                has_executable = true;
            }
            b"umask" => {
                pin.umask = text()?.parse().ok().filter(|mode| *mode <= 0o777)?;
                has_umask = true;
            }
            b"limit" => pin.limits.push(parse_limit(text()?)?),
            b"fact" => {
                let (name, value) = text()?.split_once('=')?;
                pin.facts.push((name.to_owned(), value.to_owned()));
            }
            b"before" => pin.before.push(word()),
            b"after" => pin.after.push(word()),
            b"variable" => pin.environment.push(word()),
            _ => {}
        }
    }
    // The first word is the program's own name.
    (has_executable && has_umask && !pin.before.is_empty()).then_some(pin)
}

fn parse_limit(text: &str) -> Option<PinnedLimit> {
    let mut parts = text.splitn(3, ':');
    let name = parts.next()?.to_owned();
    let (soft, hard) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    (soft <= hard).then_some(PinnedLimit { name, soft, hard })
}

/// Describes how a candidate's facts differ from the master's: the first difference in full, the
/// others by name; `None` if there is none. A fact that the candidate lacks is a difference; one
/// that only the candidate has, because it is a later release, is not.
pub fn difference(own: &[(String, String)], pinned: &[(String, String)]) -> Option<String> {
    let told = |name: &str| pinned.iter().find(|(known, _)| known == name);
    let differs =
        |(name, value): &&(String, String)| told(name).is_none_or(|(_, pinned)| pinned != value);
    let mut differing = own.iter().filter(differs);
    let (name, value) = differing.next()?;
    let pinned = told(name).map_or("not told", |(_, pinned)| pinned.as_str());
    let others: Vec<&str> = differing.map(|(name, _)| name.as_str()).collect();
    let others = match others.is_empty() {
        true => String::new(),
        false => format!("; also {}", others.join(", ")),
    };
    Some(format!("{name}: {pinned} instead of {value}{others}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Pin {
        let word = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
        let limit = |name: &str, soft, hard| PinnedLimit { name: name.to_owned(), soft, hard };
        let fact = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        Pin {
            executable: (1_048_576, -1, 999_999_999),
            umask: 0o027,
            limits: vec![limit("RLIMIT_NOFILE", 200, 4096), limit("RLIMIT_AS", 0, u64::MAX)],
            facts: vec![fact("Uid", "0 0 0 0"), fact("cgroup", "0::/a=b")],
            before: vec![word(b"einhorn")],
            after: vec![word(b"--"), word(b""), word(b"a=b\n\xff")],
            environment: vec![word(b"PATH=/usr/bin"), word(b"X=complete=yes")],
        }
    }

    #[test]
    fn a_pin_is_read_as_it_was_written() {
        let bytes = write_pin(&example());
        assert_eq!(parse_pin(&bytes), Some(example()));
        for length in 0..bytes.len() {
            assert_eq!(parse_pin(&bytes[..length]), None, "cut short after {length} bytes");
        }
    }

    #[test]
    fn what_later_releases_say_is_passed_over() {
        let bytes = write_pin(&example());
        let at = bytes.windows(6).position(|window| window == b"umask=").unwrap();
        let later = [&bytes[..at], b"later=\xff\0", &bytes[at..]].concat();
        assert_eq!(parse_pin(&later), Some(example()));
    }

    #[test]
    fn what_is_no_pin_is_nothing() {
        let text = String::from_utf8_lossy(&write_pin(&example())).into_owned();
        for (good, bad) in [
            ("einhorn-pin 1", "einhorn-pin 2"),
            ("umask=23", "umask=512"),
            ("umask=23", "later=23"),
            ("executable=1048576:-1:999999999", "later=yes"),
            ("RLIMIT_NOFILE:200:4096", "RLIMIT_NOFILE:200"),
            ("RLIMIT_NOFILE:200:4096", "RLIMIT_NOFILE:200:100"),
            ("before=einhorn", "later=einhorn"),
            ("fact=Uid=0 0 0 0", "fact=Uid"),
            ("umask=23", "umask"),
        ] {
            assert!(text.contains(good), "{good}");
            assert_eq!(parse_pin(text.replace(good, bad).as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn differences_are_named() {
        let fact = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let own = [fact("Uid", "0"), fact("CapEff", "f"), fact("nice", "0")];
        assert_eq!(difference(&own, &own), None);
        let later = [&own[..], &[fact("later", "1")]].concat();
        assert_eq!(difference(&own, &later), None, "a later release tells more");
        let changed = [fact("Uid", "0"), fact("nice", "5")];
        let told = difference(&own, &changed).unwrap();
        assert_eq!(told, "CapEff: not told instead of f; also nice");
    }
}
