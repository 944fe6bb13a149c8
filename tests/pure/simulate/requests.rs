//! Lines that clients send: sensible ones, mistaken ones and nonsense. What each command answers is
//! for the transcripts of `commands`; here they are what may come at any time.

use einhorn::protocol::{LINE_MAX, Line};

use super::random::Random;

/// Words of a line, its id and what its client wants to be told left aside.
type Make = fn(&mut Random, &[i32]) -> String;

/// The kinds of lines, and how often each comes.
const KINDS: &[(u64, Make)] = &[
    (40, message),
    (24, |random, _| resize(random)),
    (16, |random, _| config(random)),
    (6, |random, _| with_args("signal", random.one_of(SIGNALS))),
    (2, |random, _| with_args("die", random.one_of(DEATHS))),
    (20, |random, _| with_args(random.one_of(PLAIN), "")),
    (2, |random, _| upgrade(random)),
];

const SIGNALS: &[&str] = &["USR1", "TERM HUP", "SIGKILL", "int usr2 quit", "CONT SIGNAL", ""];
/// Few of these are one.
const DEATHS: &[&str] = &["TERM INT", "NOW", "A", "B", "C", "D", "TERM", "kill", "--wait"];
#[rustfmt::skip]
const PLAIN: &[&str] = &[
    "louder", "quieter", "wait", "wait", "abort", "state", "status", "metrics", "help", "ehlo", "",
];
#[rustfmt::skip]
const UPGRADES: &[&str] = &[
    "reload", "upgrade", "upgrade", "upgrade", "upgrade_fleet", "upgrade_fleet", "wait", "abort",
    "upgrade --to-ruby", "reload --to-ruby", "upgrade --to-ruby now",
];

const SIZES: &str = "1 2 3 3 4 5 6 8 10 12 20 50";

/// What `config` may change, and to what; the last ones rarely, for a Ruby Einhorn knows none
/// of them. No time-out is shorter than a worker takes that is well.
const SETTINGS: &[(&str, &str)] = &[
    ("number", SIZES),
    ("seconds", "1.0e-9 0.1 1 1 2.5 29.9 100"),
    ("ack_mode", "manual manual 0 0.05 1 10"),
    ("signal_timeout", "null 0.1 1 2.5 29.9 100"),
    ("verbosity", "0 1 2"),
    ("max_unacked", "1 2 3 6"),
    ("max_upgrade_additional", "null null 1 2 3 6"),
    ("retries", "null null null null 3 8"),
    ("ack_timeout", "null 0.05 1 10 100"),
    ("upgrade_timeout", "null 1 10 100 1000 1000"),
    ("upgrade_max_failures", "null 1 2 5 12"),
    ("canary_seconds", "0 0.05 1 10"),
    ("on_canary_timeout", "0.05 1 10 100"),
];

/// One early death is enough to give up.
pub(super) const GIVE_UP: &str = r#""command":"config","args":["{retries: 1}"]"#;

/// Of which any makes `config` change nothing.
const MISTAKES: &[&str] = &["cmd: [sh]", "seconds: 1.0e-10", "number: 0", "{", "backlog: 7"];

/// Any line; `pids` are those that it may speak of.
pub(super) fn any(random: &mut Random, pids: &[i32]) -> String {
    let total = KINDS.iter().map(|(weight, _)| weight).sum();
    let mut left = random.below(total);
    for (weight, make) in KINDS {
        if left < *weight {
            return make(random, pids);
        }
        left -= weight;
    }
    unreachable!("the weights add up")
}

/// An upgrade of any kind.
pub(super) fn upgrade(random: &mut Random) -> String {
    let words = random.one_of(UPGRADES);
    let (command, args) = words.split_once(' ').unwrap_or((words, ""));
    with_args(command, args)
}

/// A line that changes the target, mostly; some wait for it.
pub(super) fn resize(random: &mut Random) -> String {
    let wait = if random.chance(30) { "--wait" } else { "" };
    match random.below(6) {
        0 => with_args("set_workers", &format!("{} {wait}", word(random, "0 -1 10001 many"))),
        1 | 2 => with_args("set_workers", &format!("{} {wait}", word(random, SIZES))),
        3 => with_args("inc", wait),
        _ => with_args("dec", wait),
    }
}

fn config(random: &mut Random) -> String {
    let often = |index| if index < 8 { 18 } else { 4 };
    let settings = (0..).zip(SETTINGS);
    let chosen: Vec<_> = settings.filter(|(index, _)| random.chance(often(*index))).collect();
    let setting =
        |(_, (name, values)): &(i32, &(&str, &str))| format!("{name}: {}", word(random, values));
    let mut settings: Vec<String> = chosen.iter().map(setting).collect();
    if settings.is_empty() || random.chance(15) {
        settings.push(random.one_of(MISTAKES).to_owned());
    }
    format!(r#""command":"config","args":["{{{}}}"]"#, settings.join(", "))
}

/// An ACK or a ping, of a pid as a number or a string, rarely of none that is valid.
fn message(random: &mut Random, pids: &[i32]) -> String {
    let command = word(random, "worker:ack worker:ack worker:ack worker:ping");
    let pid = random.one_of(pids);
    let pid = match random.below(10) {
        0 => word(random, r#""x" 1.5 99999999999"#).to_owned(),
        1 | 2 => format!(r#""{pid}""#),
        _ => pid.to_string(),
    };
    format!(r#""command":"{command}","request_id":77,"pid":{pid}"#)
}

fn word<'w>(random: &mut Random, words: &'w str) -> &'w str {
    random.one_of(&words.split(' ').collect::<Vec<_>>())
}

/// A command with its arguments.
pub(super) fn with_args(command: &str, args: &str) -> String {
    let args: Vec<String> = args.split_whitespace().map(|word| format!("{word:?}")).collect();
    format!(r#""command":"{command}","args":[{}]"#, args.join(","))
}

/// These words as a line, with any id, of a client that wants events or does not.
pub(super) fn line(random: &mut Random, words: &str) -> Line {
    let id = random.one_of(&["", r#","id":12"#, r#","id":"a b""#, r#","id":-1.5"#]);
    let events = if random.chance(40) { r#","events":true"# } else { "" };
    Line::Complete(format!("{{{words}{id}{events}}}").into_bytes())
}

/// What no client of ours sends.
pub(super) fn nonsense(random: &mut Random) -> Line {
    let any = |random: &mut Random| random.one_of(b"a:{}[]\xff %-");
    match random.below(6) {
        0 => Line::TooLong,
        1 => Line::Complete(vec![b'['; LINE_MAX]),
        _ => Line::Complete((0..random.below(40)).map(|_| any(random)).collect()),
    }
}
