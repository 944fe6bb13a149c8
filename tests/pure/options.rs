//! Long options as Ruby's OptionParser takes them, of which the tables were read off: Ruby 3.1 with
//! the option list of Einhorn 1.1.1.

use std::ffi::OsString;
use std::path::Path;

use einhorn::cli::{Refusal, Task, parse};

/// Each option of the original, the shortest beginning that means only it, and a value that is not
/// its default, if it takes one.
const SHORTEST: &[(&str, &str, Option<&str>)] = &[
    ("ack-mode", "a", Some("manual")),
    ("backlog", "ba", Some("7")),
    ("bind", "bi", Some("127.0.0.1:80,r")),
    ("command-name", "command-n", Some("web")),
    ("command-socket-as-fd", "command-s", None),
    ("drop-env-var", "d", Some("HOME")),
    ("gc-before-fork", "g", None),
    ("help", "h", None),
    ("kill-children-on-exit", "k", None),
    ("lockfile", "l", Some("/x/lock")),
    ("max-unacked", "max-un", Some("7")),
    ("max-upgrade-additional", "max-up", Some("7")),
    ("nice", "ni", Some("3")),
    ("number", "nu", Some("7")),
    ("pidfile", "pi", Some("/x/pid")),
    ("preload", "pr", Some("x.rb")),
    ("quiet", "q", None),
    ("reexec-as", "r", Some("wrapper --deep")),
    ("seconds", "se", Some("7")),
    ("signal-timeout", "si", Some("7")),
    ("socket-path", "so", Some("/x/sock")),
    ("upgrade-check", "u", None),
    ("verbose", "verb", None),
    ("version", "vers", None),
    ("with-state-fd", "w", Some("7")),
];

fn understood(words: &[&str]) -> Result<Task, Refusal> {
    let words = std::iter::once(&"einhorn").chain(words).map(OsString::from);
    parse(words, Path::new("/t"), Path::new("/d"))
}

/// What an option does, under any of its names.
fn given(name: &str, value: Option<&str>) -> Result<Task, Refusal> {
    let joined = value.map(|value| format!("--{name}={value}"));
    match joined {
        None => understood(&[&format!("--{name}"), "program"]),
        Some(joined) => {
            let apart = understood(&[&format!("--{name}"), value.unwrap_or_default(), "program"]);
            assert_eq!(understood(&[&joined, "program"]), apart, "--{name}");
            apart
        }
    }
}

#[test]
fn every_unambiguous_beginning_of_an_option_is_the_option() {
    for (name, shortest, value) in SHORTEST {
        let due = given(name, *value);
        assert_ne!(due, understood(&["program"]), "--{name} does nothing");
        for length in shortest.len()..name.len() {
            assert_eq!(given(&name[..length], *value), due, "--{}", &name[..length]);
        }
        assert_eq!(given(&name.to_uppercase().replace('-', "_"), *value), due, "--{name}");
    }
}

#[test]
fn an_ambiguous_beginning_is_refused_with_all_that_it_may_mean() {
    for (name, shortest, _) in SHORTEST {
        for length in 1..shortest.len() {
            let beginning = &name[..length];
            let Err(Refusal::Invalid(why)) = understood(&[&format!("--{beginning}"), "x"]) else {
                panic!("--{beginning} is understood");
            };
            let fitting = SHORTEST.iter().filter(|(name, ..)| name.starts_with(beginning));
            let fitting: Vec<String> = fitting.map(|(name, ..)| format!("--{name}")).collect();
            assert!(fitting.len() > 1, "--{beginning} means only {fitting:?}");
            assert!(why.starts_with(&format!("--{beginning} is ambiguous: ")), "{why}");
            assert!(fitting.iter().all(|name| why.contains(name)), "{why}");
        }
    }
}

/// Pairs of command lines that mean the same, as they do in Ruby.
const SAME: &[(&[&str], &[&str])] = &[
    (&["-n3", "x"], &["--number", "3", "x"]),
    (&["-t5", "x"], &["--signal-timeout=5", "x"]),
    (&["-gkn", "3", "x"], &["-g", "-k", "-n", "3", "x"]),
    (&["-gn3", "x"], &["-g", "-n", "3", "x"]),
    (&["--num", "3", "sleep", "--num", "4"], &["-n", "3", "--", "sleep", "--num", "4"]),
    (&["--re", "--odd", "x"], &["--reexec-as=--odd", "x"]),
    (&["--reexec-as", "-n", "x"], &["--reexec-as=-n", "x"]),
    (&["--drop", "--", "x"], &["--drop-env-var=--", "x"]),
    (&["-kc", "-web", "x"], &["-k", "--command-name=-web", "x"]),
    (&["-c", "=web", "x"], &["--command-name==web", "x"]),
    (&["-c", "web", "--", "--number"], &["--command-name", "web", "--", "--number"]),
    (&["-n", "2", "-", "--num", "3"], &["-n", "2", "--", "-", "--num", "3"]),
    (&["-n", "3", "-n", "4", "x"], &["-n", "4", "x"]),
    (&["--ret", "3", "x"], &["--retries", "3", "x"]),
    (&["--sy", "x"], &["--syslog", "x"]),
    (&["--ipv4", "x"], &["-4", "x"]),
];

#[test]
fn command_lines_mean_what_they_mean_in_ruby() {
    for (line, due) in SAME {
        let found = understood(line);
        assert!(matches!(found, Ok(Task::Start(_))), "{line:?}: {found:?}");
        assert_eq!(found, understood(due), "{line:?}");
    }
}

#[test]
fn what_ruby_refuses_is_refused() {
    for (line, part) in [
        (&["--no-quiet", "x"][..], "'--no-quiet'"),
        (&["--quiet=1", "x"], "'--quiet"),
        (&["--number"], "'--number <N>'"),
        (&["--num"], "'--number <N>'"),
        (&["--number=", "x"], "'--number <N>'"),
        (&["--number", "-1", "x"], "'-1'"),
        (&["-number", "3"], "'umber'"),
        (&["-Z", "x"], "'-Z'"),
        (&["--i", "x"], "--ipv4 or --ipv6"),
    ] {
        let found = understood(line);
        let Err(Refusal::Invalid(why)) = &found else { panic!("{line:?}: {found:?}") };
        assert!(why.contains(part) && !why.contains('\n'), "{line:?}: {why}");
    }
}
