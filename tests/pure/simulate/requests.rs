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

/// The argument of those who wait for the end of what they ask for.
const WAIT: &str = "--wait";

type Make = fn(&mut Random, &[i32]) -> Ask;

/// The kinds of lines, and how often each comes.
const KINDS: &[(u64, Make)] = &[
    (30, ack),
    (10, ping),
    (8, |random, _| target_by(random, "inc", 1)),
    (8, |random, _| target_by(random, "dec", -1)),
    (8, |random, _| set_workers(random)),
    (16, |random, _| config(random)),
    (6, |random, _| signal(random)),
    (2, |random, _| die(random)),
    (3, |random, _| step(random, "louder", Meaning::Louder)),
    (3, |random, _| step(random, "quieter", Meaning::Quieter)),
    (6, |random, _| question(random)),
    (2, |random, _| upgrade(random)),
    (2, |random, _| step(random, "wait", Meaning::Wait)),
    (1, |random, _| step(random, "abort", Meaning::Abort)),
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
        1 | 2 => target_by(random, "inc", 1),
        _ => target_by(random, "dec", -1),
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
        3 => line(random, command, &args(&["--to-ruby", "now"]), Meaning::Mistake),
        4..6 => step(random, "wait", Meaning::Wait),
        6 => step(random, "abort", Meaning::Abort),
        _ => line(random, command, "", Meaning::Upgrade(kind)),
    }
}

/// A re-exec of the master alone.
pub(super) fn reload(random: &mut Random) -> Ask {
    line(random, "reload", "", Meaning::Upgrade(UpgradeKind::Reload))
}

/// `die`, of which the end is waited for.
pub(super) fn die_waiting(random: &mut Random) -> Ask {
    line(random, "die", &args(&[WAIT]), Meaning::Die(Signal::Usr2, true))
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

/// `inc` and `dec`; some wait for it.
fn target_by(random: &mut Random, command: &str, by: i64) -> Ask {
    let waits = random.chance(30);
    let rest = if waits { args(&[WAIT]) } else { String::new() };
    line(random, command, &rest, Meaning::TargetBy(by, waits))
}

fn set_workers(random: &mut Random) -> Ask {
    if random.chance(30) {
        let words = ["0", "-1", "10001", "many", "", "3\",\"4", "1e3", "99999999999999999999"];
        let word = random.one_of(&words);
        return line(random, "set_workers", &args(&[word]), Meaning::Mistake);
    }
    let (target, waits) = (target(random), random.chance(30));
    let written = target.to_string();
    let words = if waits { &[&written, WAIT][..] } else { &[&*written][..] };
    line(random, "set_workers", &args(words), Meaning::Target(target, waits))
}

/// A fleet, mostly small.
pub(super) fn target(random: &mut Random) -> u32 {
    let most = random.one_of(&[3, 6, 6, 12, 12, 12, 20, 50]);
    1 + u32::try_from(random.below(most)).expect("a small number")
}

fn config(random: &mut Random) -> Ask {
    let mut words = Vec::new();
    let mut changes = Vec::new();
    let kinds: Vec<u64> = (0..13).filter(|_| random.chance(18)).collect();
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
        meaning = Meaning::Mistake;
    }
    // A setting that is given twice is refused.
    let names: Vec<&str> = words.iter().filter_map(|word| word.split(':').next()).collect();
    if (1..names.len()).any(|index| names[..index].contains(&names[index])) {
        meaning = Meaning::Mistake;
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
        7 if random.chance(80) => ("retries: null".to_owned(), Change::Retries(None)),
        7 => {
            let retries = 2 + small(random);
            (format!("retries: {retries}"), Change::Retries(Some(retries)))
        }
        _ => bound(random, kind),
    }
}

/// What bounds a roll-out.
fn bound(random: &mut Random, kind: u64) -> (String, Change) {
    match kind {
        8 => {
            let (word, timeout) = optional(timeout(random));
            (format!("ack_timeout: {word}"), Change::AckTimeout(timeout))
        }
        9 => {
            let long = random.chance(50).then_some(("1000", 1_000_000_000_000));
            let (word, timeout) = optional(long.or_else(|| timeout(random)));
            (format!("upgrade_timeout: {word}"), Change::UpgradeTimeout(timeout))
        }
        10 if random.chance(30) => {
            ("upgrade_max_failures: null".to_owned(), Change::FailuresMax(None))
        }
        10 => {
            let max = random.one_of(&[1, 2, 5, 12]);
            (format!("upgrade_max_failures: {max}"), Change::FailuresMax(Some(max)))
        }
        11 => {
            let (word, span) = random.one_of(ACK_SPANS);
            (format!("canary_seconds: {word}"), Change::Canary(span))
        }
        _ => {
            let (word, span) = timeout(random).unwrap_or(TIMEOUTS[0]);
            (format!("on_canary_timeout: {word}"), Change::CheckTimeout(span))
        }
    }
}

fn optional(timeout: Option<(&'static str, u64)>) -> (&'static str, Option<u64>) {
    match timeout {
        Some((word, span)) => (word, Some(span)),
        None => ("null", None),
    }
}

/// How long a part of a roll-out may take, as typed and in nanoseconds: never less than a worker
/// takes that is well.
const TIMEOUTS: &[(&str, u64)] =
    &[("0.05", 50_000_000), ("1", 1_000_000_000), ("10", 10_000_000_000), ("100", 100_000_000_000)];

/// One of them, or none.
pub(super) fn timeout(random: &mut Random) -> Option<(&'static str, u64)> {
    random.chance(80).then(|| random.one_of(TIMEOUTS))
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
        meaning = Meaning::Mistake;
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    line(random, "signal", &args(&words), meaning)
}

/// Rarely a `die` that does it.
fn die(random: &mut Random) -> Ask {
    if random.chance(97) {
        let words = random.one_of(&[&["NOW"][..], &["TERM", "INT"][..]]);
        return line(random, "die", &args(words), Meaning::Mistake);
    }
    let waits = random.chance(50);
    let mut words = Vec::new();
    let mut signal = Signal::Usr2;
    if random.chance(50) {
        signal = random.one_of(&[Signal::Term, Signal::Int, Signal::Kill, Signal::Hup]);
        words.push(spelled(random, signal));
    }
    words.extend(waits.then(|| WAIT.to_owned()));
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    line(random, "die", &args(&words), Meaning::Die(signal, waits))
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
    let meaning = match command {
        "unheard of" | "" => Meaning::Mistake,
        _ => Meaning::Nothing,
    };
    line(random, command, r#","user":"sim""#, meaning)
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
    Ask { request: Request::parse(&line), meaning: Meaning::Mistake }
}

fn args(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        words => format!(r#","args":["{}"]"#, words.join(r#"",""#)),
    }
}

fn line(random: &mut Random, command: &str, rest: &str, meaning: Meaning) -> Ask {
    let id = match random.below(4) {
        0 => "",
        1 => r#","id":12"#,
        2 => r#","id":"a b""#,
        _ => r#","id":-1.5"#,
    };
    let events = if random.chance(40) { r#","events":true"# } else { "" };
    let text = format!(r#"{{"command":"{command}"{rest}{id}{events}}}"#);
    let request = Request::parse(&Line::Complete(text.into_bytes()));
    assert!(request.is_ok(), "{request:?}");
    Ask { request, meaning }
}
