//! Lines that clients send: sensible ones, mistaken ones and nonsense.

use einhorn::protocol::{BadRequest, LINE_MAX, Line, Request};
use einhorn::scalar::Scalar;
use einhorn::state::{Pid, Signal, UpgradeKind};

use super::meaning::{Change, Meaning};
use super::random::Random;

/// A line and what must come of it.
pub(super) struct Ask {
    pub(super) request: Result<Request, BadRequest>,
    pub(super) meaning: Meaning,
}

type Make = fn(&mut Random, &[i32]) -> Ask;

/// The kinds of lines, and how often each comes.
const KINDS: &[(u64, Make)] = &[
    (30, ack),
    (10, ping),
    (8, |random, _| step(random, "inc", Meaning::TargetBy(1))),
    (8, |random, _| step(random, "dec", Meaning::TargetBy(-1))),
    (8, |random, _| set_workers(random)),
    (16, |random, _| config(random)),
    (6, |random, _| signal(random)),
    (2, |random, _| die(random)),
    (3, |random, _| step(random, "louder", Meaning::Louder)),
    (3, |random, _| step(random, "quieter", Meaning::Quieter)),
    (6, |random, _| question(random)),
    (2, |random, _| upgrade(random)),
    (6, |random, _| garbage(random)),
];

/// Any line; `pids` are those that it may speak of.
pub(super) fn any(random: &mut Random, pids: &[i32]) -> Ask {
    let total = KINDS.iter().map(|(weight, _)| weight).sum();
    let mut left = random.below(total);
    let chosen = KINDS.iter().find(|(weight, _)| {
        let found = left < *weight;
        left = left.saturating_sub(*weight);
        found
    });
    let (_, make) = chosen.expect("the weights add up");
    make(random, pids)
}

/// A line that changes the target, mostly.
pub(super) fn resize(random: &mut Random) -> Ask {
    match random.below(5) {
        0 => set_workers(random),
        1 | 2 => step(random, "inc", Meaning::TargetBy(1)),
        _ => step(random, "dec", Meaning::TargetBy(-1)),
    }
}

/// An upgrade of any kind.
pub(super) fn upgrade(random: &mut Random) -> Ask {
    let (command, kind) = random.one_of(&[
        ("reload", UpgradeKind::Reload),
        ("upgrade", UpgradeKind::Smooth),
        ("upgrade", UpgradeKind::Smooth),
        ("upgrade_fleet", UpgradeKind::Fleet),
    ]);
    match random.below(20) {
        0..3 => line(random, command, &args(&["--to-ruby"]), Meaning::HandBack(kind)),
        3 => line(random, command, &args(&["--to-ruby", "now"]), Meaning::Nothing),
        _ => line(random, command, "", Meaning::Upgrade(kind)),
    }
}

/// One early death is enough to give up.
pub(super) fn lose_patience(random: &mut Random) -> Ask {
    let meaning = Meaning::Config(vec![Change::Retries(Some(1))]);
    line(random, "config", &args(&["{retries: 1}"]), meaning)
}

/// An ACK as a worker sends it.
pub(super) fn ack_for(random: &mut Random, pid: i32) -> Ask {
    line(random, "worker:ack", &format!(r#","pid":{pid}"#), Meaning::Ack(Some(Pid(pid))))
}

fn ack(random: &mut Random, pids: &[i32]) -> Ask {
    let (written, pid) = any_pid(random, pids);
    line(random, "worker:ack", &written, Meaning::Ack(pid))
}

fn ping(random: &mut Random, pids: &[i32]) -> Ask {
    let (written, pid) = any_pid(random, pids);
    let (word, id) = match random.below(3) {
        0 => (String::new(), None),
        1 => (r#","request_id":"r-5""#.to_owned(), Some(Scalar::Text("r-5".to_owned()))),
        _ => (r#","request_id":77"#.to_owned(), Some(Scalar::Integer(77))),
    };
    line(random, "worker:ping", &format!("{written}{word}"), Meaning::Ping(pid, id))
}

/// A pid as a number or a string, rarely none at all or none that is valid.
fn any_pid(random: &mut Random, pids: &[i32]) -> (String, Option<Pid>) {
    if random.chance(10) {
        let bad = ["", r#","pid":"x""#, r#","pid":1.5"#, r#","pid":99999999999"#, r#","pid":[7]"#];
        return (random.one_of(&bad).to_owned(), None);
    }
    let pid = random.one_of(pids);
    let written = match random.chance(20) {
        true => format!(r#","pid":"{pid}""#),
        false => format!(r#","pid":{pid}"#),
    };
    (written, Some(Pid(pid)))
}

fn step(random: &mut Random, command: &str, meaning: Meaning) -> Ask {
    line(random, command, "", meaning)
}

fn set_workers(random: &mut Random) -> Ask {
    if random.chance(30) {
        let words = ["0", "-1", "10001", "many", "", "3\",\"4", "1e3", "99999999999999999999"];
        let word = random.one_of(&words);
        return line(random, "set_workers", &args(&[word]), Meaning::Nothing);
    }
    let target = target(random);
    line(random, "set_workers", &args(&[&target.to_string()]), Meaning::Target(target))
}

/// A fleet, mostly small.
pub(super) fn target(random: &mut Random) -> u32 {
    let most = random.one_of(&[3, 6, 6, 12, 12, 12, 20, 50]);
    1 + u32::try_from(random.below(most)).expect("a small number")
}

fn config(random: &mut Random) -> Ask {
    let mut words = Vec::new();
    let mut changes = Vec::new();
    let kinds: Vec<u64> = (0..8).filter(|_| random.chance(25)).collect();
    for kind in kinds {
        let (word, change) = setting(random, kind);
        words.push(word);
        changes.push(change);
    }
    let mut meaning = Meaning::Config(changes);
    if words.is_empty() || random.chance(15) {
        let bad =
            ["cmd: [sh]", "seconds: 1.0e-10", "number: 0", "verbosity: 3", "retries: 0", "{", "7"];
        words.push(random.one_of(&bad).to_owned());
        meaning = Meaning::Nothing;
    }
    // A setting that is given twice is refused.
    let names: Vec<&str> = words.iter().filter_map(|word| word.split(':').next()).collect();
    if (1..names.len()).any(|index| names[..index].contains(&names[index])) {
        meaning = Meaning::Nothing;
    }
    line(random, "config", &args(&[&format!("{{{}}}", words.join(", "))]), meaning)
}

fn setting(random: &mut Random, kind: u64) -> (String, Change) {
    let small = |random: &mut Random| 1 + u32::try_from(random.below(6)).expect("a small number");
    match kind {
        0 => {
            let target = target(random);
            (format!("number: {target}"), Change::Target(target))
        }
        1 => {
            let (word, span) = interval(random);
            (format!("seconds: {word}"), Change::Interval(span))
        }
        2 if random.chance(50) => ("ack_mode: manual".to_owned(), Change::AckAfter(None)),
        2 => {
            let (word, span) = random.one_of(ACK_SPANS);
            (format!("ack_mode: {{type: timer, timeout: {word}}}"), Change::AckAfter(Some(span)))
        }
        3 if random.chance(30) => ("signal_timeout: null".to_owned(), Change::SignalTimeout(None)),
        3 => {
            let (word, span) = interval(random);
            (format!("signal_timeout: {word}"), Change::SignalTimeout(Some(span)))
        }
        4 => {
            let level = random.one_of(&[0, 1, 2]);
            (format!("verbosity: {level}"), Change::Verbosity(level))
        }
        5 => {
            let max = small(random);
            (format!("max_unacked: {max}"), Change::MaxUnacked(max))
        }
        6 if random.chance(50) => {
            ("max_upgrade_additional: null".to_owned(), Change::MaxAdditional(None))
        }
        6 => {
            let max = small(random);
            (format!("max_upgrade_additional: {max}"), Change::MaxAdditional(Some(max)))
        }
        _ if random.chance(80) => ("retries: null".to_owned(), Change::Retries(None)),
        _ => {
            let retries = 2 + small(random);
            (format!("retries: {retries}"), Change::Retries(Some(retries)))
        }
    }
}

/// Times that a timer ACK may take, as typed and in nanoseconds.
pub(super) const ACK_SPANS: &[(&str, u64)] =
    &[("0", 0), ("0.05", 50_000_000), ("1", 1_000_000_000), ("10", 10_000_000_000)];

/// A respawn interval or a time-out, as typed and in nanoseconds.
pub(super) fn interval(random: &mut Random) -> (&'static str, u64) {
    random.one_of(&[
        ("1.0e-9", 1),
        ("0.1", 100_000_000),
        ("1", 1_000_000_000),
        ("1", 1_000_000_000),
        ("2.5", 2_500_000_000),
        ("29.9", 29_900_000_000),
        ("100", 100_000_000_000),
    ])
}

fn signal(random: &mut Random) -> Ask {
    let count = random.below(4);
    let signals: Vec<Signal> = (0..count).map(|_| random.one_of(Signal::ALL)).collect();
    let mut words: Vec<String> = signals.iter().map(|signal| spelled(random, *signal)).collect();
    let mut meaning = Meaning::Signal(signals);
    if words.is_empty() || random.chance(10) {
        words.push("SIGNAL".to_owned());
        meaning = Meaning::Nothing;
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    line(random, "signal", &args(&words), meaning)
}

/// Rarely a `die` that does it.
fn die(random: &mut Random) -> Ask {
    if random.chance(97) {
        let words = random.one_of(&[&["NOW"][..], &["TERM", "INT"][..]]);
        return line(random, "die", &args(words), Meaning::Nothing);
    }
    if random.chance(50) {
        return line(random, "die", "", Meaning::Die(Signal::Usr2));
    }
    let signal = random.one_of(&[Signal::Term, Signal::Int, Signal::Kill, Signal::Hup]);
    let word = spelled(random, signal);
    line(random, "die", &args(&[&word]), Meaning::Die(signal))
}

fn spelled(random: &mut Random, signal: Signal) -> String {
    match random.below(3) {
        0 => signal.name().to_owned(),
        1 => format!("SIG{signal}"),
        _ => format!("Sig{signal}").to_lowercase(),
    }
}

fn question(random: &mut Random) -> Ask {
    const COMMANDS: &[&str] = &["state", "status", "metrics", "help", "ehlo", "unheard of", ""];
    let command = random.one_of(COMMANDS);
    line(random, command, r#","user":"sim""#, Meaning::Nothing)
}

fn garbage(random: &mut Random) -> Ask {
    const LINES: &[&str] =
        &["", "{", "42", "[1]", "---", "{}", "{id: 3}", "{command: [inc], id: x}"];
    let line = match random.below(4) {
        0 => Line::TooLong,
        1 => {
            Line::Complete((0..random.below(40)).map(|_| random.one_of(b"a:{}[]\xff %-")).collect())
        }
        2 => Line::Complete(vec![b'['; LINE_MAX]),
        _ => Line::Complete(random.one_of(LINES).as_bytes().to_vec()),
    };
    Ask { request: Request::parse(&line), meaning: Meaning::Nothing }
}

fn args(words: &[&str]) -> String {
    format!(r#","args":["{}"]"#, words.join(r#"",""#))
}

fn line(random: &mut Random, command: &str, rest: &str, meaning: Meaning) -> Ask {
    let id = match random.below(4) {
        0 => "",
        1 => r#","id":12"#,
        2 => r#","id":"a b""#,
        _ => r#","id":-1.5"#,
    };
    let text = format!(r#"{{"command":"{command}"{rest}{id}}}"#);
    let request = Request::parse(&Line::Complete(text.into_bytes()));
    assert!(request.is_ok(), "{request:?}");
    Ask { request, meaning }
}
