//! Parts of a state that do not agree with each other, or with what a master can be.

use einhorn::schema::{Handover, encode};

use super::super::golden::{busy, canary, fresh, mid_upgrade};
use super::{Refused, counted, inconsistent, replaced, u32s, u64s, with_section};

pub(super) fn all() -> Vec<Refused> {
    let mut all = masters();
    all.extend(workers());
    all.extend(clients());
    all.extend(children());
    all
}

/// What the master itself cannot be, or cannot have been told.
fn masters() -> Vec<Refused> {
    let nice = |worker: i32| {
        let signed = |level: i32| [vec![1], level.to_le_bytes().to_vec()].concat();
        with(&busy(), "options", &[signed(-5), signed(10)], &[signed(-5), signed(worker)])
    };
    let own_nice = |level: i32| [u64s(&[65_536]), level.to_le_bytes().to_vec()];
    // The last variable that is dropped, the verbosity, that it logs to syslog.
    let verbosity = |level| [counted(b"RUBYOPT"), vec![level, 1]];
    let program = |path: &[u8]| [counted(path)];
    vec![
        inconsistent(
            "verbosity-unknown",
            "Quieter than errors only.",
            with(&busy(), "options", &verbosity(2), &verbosity(3)),
        ),
        inconsistent("nice-worker-high", "Workers nicer than can be.", nice(20)),
        inconsistent("nice-worker-low", "Workers less nice than can be.", nice(-21)),
        inconsistent(
            "nice-own",
            "The master was started with less.",
            with(&busy(), "origin", &own_nice(-3), &own_nice(-21)),
        ),
        inconsistent(
            "command-nul",
            "A program that no C string holds.",
            with(
                &busy(),
                "options",
                &program(b"/srv/shop/bin/app"),
                &program(b"/srv/shop\0bin/app"),
            ),
        ),
        inconsistent(
            "stopping-and-upgrading",
            "A master on its way out goes on with an upgrade.",
            with_section(&encoded(&fresh()), "master", |section| {
                assert_eq!(section.content.pop(), Some(0), "it is not on its way out");
                section.content.extend([1, 0, 0, 0, 0]);
            }),
        ),
    ]
}

/// Workers, and those that are to come.
fn workers() -> Vec<Refused> {
    // Two orders, how many of the first start are left, how many have died early.
    let pool = |slot, left| [u32s(&[slot, 6, 9, 7, left, 3])];
    let changed = |slot, left| with(&busy(), "pool", &pool(5, 2), &pool(slot, left));
    let asked_at = [vec![1], u64s(&[86_802_000_000_402])];
    vec![
        inconsistent("order-of-a-taken-slot", "It has a worker.", changed(4, 2)),
        inconsistent("start-of-too-many", "More to start than are missing.", changed(5, 4)),
        inconsistent(
            "stop-at-no-time",
            "A worker was asked to stop, and never.",
            with(&busy(), "workers", &asked_at, &[vec![0]]),
        ),
    ]
}

/// Listeners, and connections of the command socket.
fn clients() -> Vec<Refused> {
    let given = |pid| [vec![1], u32s(&[pid])];
    // What was a listener or a connection is something that is kept open for others.
    let kept = |from: &[Vec<u8>], number| {
        with(&fresh(), "descriptors", from, &[u32s(&[7, number]), u64s(&[8])])
    };
    vec![
        inconsistent(
            "waiter-unknown",
            "Who waits is not connected.",
            with(&fresh(), "waiters", &[u64s(&[1, 16])], &[u64s(&[1, 15])]),
        ),
        inconsistent(
            "given-to-another",
            "A connection is given to a worker that has none.",
            with(&busy(), "connections", &given(5_999), &given(5_002)),
        ),
        inconsistent(
            "listener-not-carried",
            "Its descriptor is something else.",
            kept(&[u32s(&[4, 0, 6]), u64s(&[8])], 6),
        ),
        inconsistent(
            "connection-not-carried",
            "Its descriptor is something else.",
            kept(&[u32s(&[5]), u64s(&[16]), u32s(&[8]), u64s(&[8])], 8),
        ),
    ]
}

/// Children that are two things.
fn children() -> Vec<Refused> {
    let candidate = |pid| [u32s(&[pid]), counted(b"candidate")];
    let with_candidate =
        |handover: &Handover, pid| with(handover, "children", &candidate(4_003), &candidate(pid));
    vec![
        inconsistent(
            "helper-is-master",
            "The candidate is the master.",
            with_candidate(&mid_upgrade(), 4_000),
        ),
        inconsistent(
            "helper-is-check",
            "The candidate looks at the canary.",
            with_candidate(&canary(), 4_004),
        ),
        inconsistent(
            "helper-twice",
            "The candidate renices as well.",
            with(&busy(), "children", &[u32s(&[5_802])], &[u32s(&[5_801])]),
        ),
    ]
}

fn encoded(handover: &Handover) -> Vec<u8> {
    encode(handover, None, None).expect("a golden state")
}

fn with(handover: &Handover, section: &str, from: &[Vec<u8>], to: &[Vec<u8>]) -> Vec<u8> {
    replaced(&encoded(handover), section, from, to)
}
