//! What cannot be of the sections about stopping: schedules, leftovers, ends of upgrades.

use einhorn::schema::encode;

use super::super::bytes::sections;
use super::super::golden::{alone, busy};
use super::optional::with;
use super::{
    Refused, counted, inconsistent, refused, replaced, span, spelled, u32s, u64s, with_section,
    with_sections,
};

pub(super) fn all() -> Vec<Refused> {
    let mut all = stops();
    all.extend(leftovers());
    all.extend(endings());
    all
}

/// What cannot be of the programs of workers, and of the signals that ask them to stop.
fn stops() -> Vec<Refused> {
    let undecodable = |name, comment, bytes| refused(name, "Undecodable", comment, bytes);
    let program = |pid, name: &[u8]| [u32s(&[pid]), vec![1], counted(name)];
    let none = |section| [section, u32s(&[5_003]), vec![0]].concat();
    let disposition = |pid, variant| [u32s(&[pid]), vec![1], u32s(&[variant])];
    let dispositions =
        |pid, variant| with("dispositions", &disposition(5_004, 2), &disposition(pid, variant));
    // Not what it did with it, and that it could not be sent.
    let signal = |pid, name: &[u8], delivery| {
        [u32s(&[pid]), vec![1], counted(name), vec![0], u32s(&[delivery])]
    };
    let signals = |pid, name: &[u8], delivery| {
        with("stop-signals", &signal(5_001, b"USR2", 2), &signal(pid, name, delivery))
    };
    vec![
        inconsistent(
            "program-unknown",
            "What runs a program is no worker.",
            with("programs", &program(5_002, b"shop"), &program(5_999, b"shop")),
        ),
        undecodable(
            "program-latin",
            "A name that is not UTF-8.",
            with("programs", &program(5_002, b"shop"), &program(5_002, b"sh\xffp")),
        ),
        spelled(
            "program-none",
            "A worker of which no program is known is listed.",
            with(
                "programs",
                &[u64s(&[2]), program(5_001, "shöp-old".as_bytes()).concat()],
                &[u64s(&[3]), none(program(5_001, "shöp-old".as_bytes()).concat())],
            ),
        ),
        inconsistent(
            "disposition-unknown",
            "What ignores it is no worker.",
            dispositions(5_999, 2),
        ),
        undecodable("disposition-variant", "One of a later release.", dispositions(5_004, 4)),
        inconsistent("stop-signal-of-nobody", "No worker was sent it.", signals(5_999, b"USR2", 2)),
        inconsistent("stop-signal-unknown", "There is no SIGUSR7.", signals(5_001, b"USR7", 2)),
        inconsistent(
            "stop-signal-at-no-time",
            "A worker was sent it, and never asked to stop.",
            signals(5_002, b"USR2", 2),
        ),
        undecodable("delivery-variant", "One of a later release.", signals(5_001, b"USR2", 3)),
    ]
}

/// Processes that no worker can have left.
fn leftovers() -> Vec<Refused> {
    // The worker, its slot and generation.
    let left = |pid, generation| [u32s(&[pid, 3, generation])];
    let with = |from: &[Vec<u8>], to: &[Vec<u8>]| with("leftovers", from, to);
    let worker = |pid, generation| with(&left(5_202, 9), &left(pid, generation));
    let count = |count| [u32s(&[count]), vec![1], counted(b"sleep")];
    let sent = |name: &[u8]| [vec![1], counted(name), vec![1]];
    // When it was first asked to stop.
    let asked_at = [vec![1], u64s(&[86_842_000_000_442])];
    vec![
        spelled("leftovers-twice", "A worker has left processes twice.", worker(5_201, 9)),
        inconsistent("leftovers-of-init", "Process 1 has left them.", with_first(1)),
        inconsistent("leftovers-of-master", "The master has.", with_first(5_000)),
        inconsistent("leftovers-of-worker", "A worker has that is still there.", with_first(5_004)),
        inconsistent(
            "leftovers-of-the-future",
            "A worker has of a generation that was never given.",
            worker(5_202, 10),
        ),
        inconsistent("leftovers-none", "There are none.", with(&count(14), &count(0))),
        inconsistent(
            "leftovers-at-no-time",
            "They were asked to stop, and never.",
            with(&asked_at, &[vec![0]]),
        ),
        inconsistent(
            "leftovers-signal-unknown",
            "There is no SIGTURM.",
            with(&sent(b"TERM"), &sent(b"TURM")),
        ),
    ]
}

/// The first of those that have left something is another one.
fn with_first(pid: u32) -> Vec<u8> {
    let first = |pid| [u64s(&[2]), u32s(&[pid, 1, 6])];
    with("leftovers", &first(5_201), &first(pid))
}

/// Upgrades that cannot be about to end.
fn endings() -> Vec<Refused> {
    let state = encode(&alone("ending-upgrade"), None, None).expect("a golden state");
    let with = |from: &[Vec<u8>], to: &[Vec<u8>]| replaced(&state, "ending-upgrade", from, to);
    let directory = b"/srv/releases/\xff2";
    let about = |generation, path: &[u8]| [u32s(&[2, generation]), vec![1], counted(path)];
    // How many were killed after its end, how many new workers failed, and the deadline.
    let failed = |count| [u32s(&[0, count]), u64s(&[86_523_000_000_123])];
    let ended_on = || u64s(&[1_795_000_333_000_000_999]);
    let told = || [ended_on(), u64s(&[2]), vec![0], u32s(&[7])];
    let many = [ended_on(), u64s(&[11]), failures(9).split_off(8), vec![0], u32s(&[7])];
    let another = sections(&state).pop().expect("the section");
    vec![
        inconsistent(
            "ending-and-rolling-out",
            "A roll-out goes on meanwhile.",
            with_sections(&encode(&busy(), None, None).expect("a golden state"), |all| {
                let at = all.iter().position(|section| section.name == "warned").expect("it");
                all.insert(at, another.clone());
            }),
        ),
        inconsistent(
            "ending-and-stopping",
            "The master is on its way out.",
            with_section(&state, "master", |section| {
                assert_eq!(section.content.pop(), Some(0), "it is not on its way out");
                section.content.extend([1, 0, 0, 0, 0]);
            }),
        ),
        inconsistent(
            "ending-of-the-future",
            "It is about a generation that was never given.",
            with(&about(0, directory), &about(1, directory)),
        ),
        inconsistent(
            "ending-relative",
            "It is about a directory that is not absolute.",
            with(&about(0, directory), &about(0, b"srv//releases/\xff2")),
        ),
        inconsistent(
            "ending-took-long",
            "It took an age of the world.",
            with(&[span(61, 3)], &[span(u64::MAX, 3)]),
        ),
        inconsistent(
            "ending-failures-uncounted",
            "It counts one failure, and tells of two.",
            with(&failed(5), &failed(1)),
        ),
        inconsistent("ending-failures-many", "It tells of eleven.", with(&told(), &many)),
        inconsistent(
            "ending-last-words-long",
            "Somebody goes on and on.",
            with(
                &[counted("größer\nals \\u{1b}".as_bytes())],
                &[counted(&b"x".repeat(4 * 1024 + 1))],
            ),
        ),
    ]
}

/// A list of failures to start a worker.
pub(super) fn failures(count: u32) -> Vec<u8> {
    let one = |slot| [vec![0], u32s(&[slot]), counted(b"?"), span(0, 0), vec![0]].concat();
    [u64s(&[count.into()]), (0..count).flat_map(one).collect()].concat()
}
