//! Envelopes that are wrong, and what cannot be of the sections that every state has.

use einhorn::schema::{HEADER_BYTES, STATE_MAX, encode};

use super::super::bytes::mend_header;
use super::super::golden;
use super::{Refused, inconsistent, refused, replaced, span, spelled, u32s, u64s};

pub(super) fn all() -> Vec<Refused> {
    let mut all = ends();
    all.extend(headers());
    all.extend(structures());
    all.extend(numbers());
    all.extend(workers());
    all.extend(descriptors());
    all.extend(connections());
    all
}

/// Bytes that are missing, too many, or something else altogether.
fn ends() -> Vec<Refused> {
    let good = fresh();
    let until = |length: usize| good[..length].to_vec();
    let crlf = good.iter().flat_map(|byte| if *byte == b'\n' { vec![13, 10] } else { vec![*byte] });
    vec![
        refused("empty", "Truncated", "No bytes at all.", Vec::new()),
        refused("header-cut", "Truncated", "One byte less than a header.", until(35)),
        refused("header-only", "Truncated", "A header without its payload.", until(HEADER_BYTES)),
        refused("payload-cut", "Truncated", "The last byte is missing.", until(good.len() - 1)),
        refused("trailing", "TrailingBytes", "One byte more.", [&good[..], &[0]].concat()),
        refused(
            "text",
            "BadMagic",
            "A text. One that begins with `---` is taken for a Ruby master's.",
            b":state:\n  :children: {}\n  :generation: 0\n".to_vec(),
        ),
        refused("line-ends", "BadMagic", "Converted as if it were text.", crlf.collect()),
    ]
}

/// Headers that are wrong, and a payload that is not what its header vouches for.
fn headers() -> Vec<Refused> {
    let header = |at: usize, bytes: &[u8]| {
        let mut header = fresh();
        header[at..at + bytes.len()].copy_from_slice(bytes);
        mend_header(header)
    };
    let flip = |at: usize| {
        let mut bytes = fresh();
        bytes[at] ^= 1;
        bytes
    };
    let too_large = (STATE_MAX - HEADER_BYTES + 1) as u64;
    vec![
        refused("header-flipped", "HeaderDamaged", "A bit of the rollback descriptor.", flip(12)),
        refused("format-flipped", "HeaderDamaged", "Format 1 has become format 0.", flip(8)),
        refused("payload-flipped", "PayloadDamaged", "A bit of the payload.", flip(336)),
        refused("flags", "UnknownFlags", "Flags of a later release.", header(10, &[0, 128])),
        refused("format-zero", "UnknownFormat", "There is no format 0.", header(8, &[0, 0])),
        refused(
            "format-later",
            "UnknownFormat",
            "A release far ahead; its payload is not looked at.",
            header(8, &[255, 255])[..HEADER_BYTES].to_vec(),
        ),
        refused(
            "length-large",
            "TooLarge",
            "One byte more than the limit; none of them is there.",
            header(20, &too_large.to_le_bytes()),
        ),
        refused("length-absurd", "TooLarge", "All bits set.", header(20, &[255; 8])),
        inconsistent(
            "rollback-standard",
            "The image to roll back to is standard error.",
            header(12, &2i32.to_le_bytes()),
        ),
        inconsistent(
            "rollback-negative",
            "Only -1 says that there is none.",
            header(12, &(-2i32).to_le_bytes()),
        ),
        inconsistent(
            "rollback-listener",
            "The image to roll back to is a listener.",
            header(12, &6i32.to_le_bytes()),
        ),
        inconsistent(
            "report-lock",
            "The report would go to the lock file.",
            header(16, &3i32.to_le_bytes()),
        ),
    ]
}

/// Contents that are not what their sections are made of.
fn structures() -> Vec<Refused> {
    let undecodable = |name, comment, bytes| refused(name, "Undecodable", comment, bytes);
    let text = |length: u64, text: &[u8]| {
        let release = [u64s(&[5]), b"0.1.0".to_vec()];
        fresh_with("master", &release, &[u64s(&[length]), text.to_vec()])
    };
    // The end of the program as typed, and how many words it has with `srv:` words replaced.
    let command = |count: u64| {
        let from = [b"8080".to_vec(), u64s(&[2])];
        fresh_with("options", &from, &[b"8080".to_vec(), u64s(&[count])])
    };
    // The ACK mode, a timer, and the byte that says that there is no time-out.
    let ack_mode = |variant: u32, has_timeout: u8| {
        let parts = |variant, byte| [u32s(&[variant]), span(1, 0), vec![byte]];
        fresh_with("options", &parts(1, 0), &parts(variant, has_timeout))
    };
    // The connection's buffers, which are empty, and its flags.
    let is_discarding = |byte: u8| [u64s(&[16, 0]), vec![byte], u64s(&[0]), vec![0; 3]];
    vec![
        undecodable(
            "text-absurd",
            "The length of the release has all bits set.",
            text(u64::MAX, b"0.1.0"),
        ),
        undecodable(
            "text-hostile",
            "The length of the release is below the limit; the bytes are not there.",
            text(200 * 1024 * 1024, b"0.1.0"),
        ),
        undecodable("text-latin", "The release is not UTF-8.", text(5, b"0.1.\xff")),
        undecodable("list-absurd", "The command has 2^64-1 words.", command(u64::MAX)),
        undecodable("list-hostile", "It has two million words.", command(2_000_000)),
        undecodable("variant", "An ACK mode of a later release.", ack_mode(2, 0)),
        undecodable(
            "option",
            "A byte of 2 where 0 or 1 says whether there is a time-out.",
            ack_mode(1, 2),
        ),
        undecodable(
            "bool",
            "A truth value of 2.",
            fresh_with("connections", &is_discarding(0), &is_discarding(2)),
        ),
    ]
}

/// Numbers and words of the configuration that cannot be.
fn numbers() -> Vec<Refused> {
    // The target, the backlog, the respawn interval.
    let config = |target, interval| [u32s(&[target, 100]), span(interval, 0)];
    let with = |target, interval| fresh_with("options", &config(1, 1), &config(target, interval));
    let word = |from: &[u8], to: &[u8]| fresh_with("origin", &[from.to_vec()], &[to.to_vec()]);
    vec![
        inconsistent("target-zero", "No worker is asked for.", with(0, 1)),
        inconsistent("target-large", "More workers than can be.", with(10_001, 1)),
        inconsistent(
            "span-long",
            "A respawn interval of 584 thousand million years.",
            with(1, u64::MAX),
        ),
        inconsistent(
            "path-relative",
            "Our own program is not absolute.",
            word(b"/usr/bin/einhorn", b"usr//bin/einhorn"),
        ),
        inconsistent(
            "nul",
            "A variable that no C string holds.",
            word(b"/usr/bin:/bin", b"/usr/bin\0/bin"),
        ),
    ]
}

/// Processes that cannot be.
fn workers() -> Vec<Refused> {
    let workers = |first, second| {
        let first = [u32s(&[first, 0, 0])];
        let bytes = replaced(&mid_upgrade(), "workers", &[u32s(&[4_001, 0, 0])], &first);
        replaced(&bytes, "workers", &[u32s(&[4_002, 1, 1])], &[u32s(&[second, 1, 1])])
    };
    let second = |slot, generation| {
        let to = [u32s(&[4_002, slot, generation])];
        replaced(&mid_upgrade(), "workers", &[u32s(&[4_002, 1, 1])], &to)
    };
    let signaled = |first: &[u8]| {
        let list = |first: &[u8]| [u64s(&[4]), first.to_vec(), u64s(&[4]), b"USR2".to_vec()];
        replaced(&busy(), "workers", &list(b"KILL"), &list(first))
    };
    let helper = |pid| [u32s(&[pid]), u64s(&[9]), b"candidate".to_vec()];
    vec![
        inconsistent(
            "master-is-worker",
            "The master's pid is its worker's.",
            fresh_with("master", &[u32s(&[4_000, 2])], &[u32s(&[4_001, 2])]),
        ),
        spelled("workers-unordered", "Pids descend.", workers(4_002, 4_001)),
        spelled("worker-twice", "Two workers have a pid.", workers(4_001, 4_001)),
        inconsistent("worker-init", "A worker is process 1.", workers(1, 4_002)),
        inconsistent("slot-twice", "Two workers have an index.", second(0, 1)),
        inconsistent("worker-of-the-future", "Its code is newer than any.", second(1, 2)),
        inconsistent("signal-unknown", "There is no SIGUSR7.", signaled(b"USR7")),
        spelled("signal-twice", "A set with a member twice.", signaled(b"USR2")),
        inconsistent(
            "helper-is-worker",
            "The candidate is a worker.",
            replaced(&mid_upgrade(), "children", &helper(4_003), &helper(4_001)),
        ),
    ]
}

/// Descriptors that cannot be, or that the state knows otherwise. They are patched where a role, a
/// number and the device of the identity stand.
fn descriptors() -> Vec<Refused> {
    let lock = |role, number| [u32s(&[role, number]), u64s(&[9])];
    let pidfile = |role| [u32s(&[role, 4]), u64s(&[9])];
    let command_socket = |role| [u32s(&[role, 5]), u64s(&[8])];
    let listener = |index, number| [u32s(&[4, index, number]), u64s(&[8])];
    let pidfd = |pid| [u32s(&[6, pid, 10]), u64s(&[9])];
    let with = |from: &[Vec<u8>], to: &[Vec<u8>]| fresh_with("descriptors", from, to);
    let stray = 7;
    vec![
        inconsistent(
            "descriptor-standard",
            "The lock file is standard error.",
            with(&lock(2, 3), &lock(2, 2)),
        ),
        inconsistent(
            "descriptor-twice",
            "The lock file is the listener.",
            with(&lock(2, 3), &lock(2, 6)),
        ),
        inconsistent(
            "descriptor-negative",
            "The lock file is no descriptor.",
            with(&lock(2, 3), &lock(2, u32::MAX)),
        ),
        inconsistent(
            "command-socket-missing",
            "Nobody could give a command.",
            with(&command_socket(0), &command_socket(stray)),
        ),
        inconsistent("role-twice", "Two lock files.", with(&pidfile(3), &pidfile(2))),
        inconsistent("socket-lock-twice", "Two locks of a socket.", with(&lock(2, 3), &lock(1, 3))),
        inconsistent(
            "listener-elsewhere",
            "The state knows the listener under another number.",
            with(&listener(0, 6), &listener(0, 7)),
        ),
        inconsistent(
            "listener-unknown",
            "A listener that the state does not know.",
            with(&listener(0, 6), &listener(1, 6)),
        ),
        inconsistent(
            "pidfd-unknown",
            "A pidfd of no worker.",
            replaced(&mid_upgrade(), "descriptors", &pidfd(4_002), &pidfd(4_009)),
        ),
    ]
}

/// Connections that the parts of a state tell of differently.
fn connections() -> Vec<Refused> {
    let connection = |id| [u32s(&[5]), u64s(&[id]), u32s(&[8]), u64s(&[8])];
    let buffer = |id| [u64s(&[id, 0]), vec![0], u64s(&[0]), vec![0; 3]];
    // The end of half a ping, nothing owed, and then it.
    let given = |is_given| [b"\"pi\0".to_vec(), u64s(&[0]), vec![is_given]];
    let next = |id| [u64s(&[id, 1, 16])];
    // One that was given to a worker, and one that was not.
    let to_worker = [u64s(&[70_001]), vec![1], u32s(&[5_001])].concat();
    let to_none = [u64s(&[70_002]), vec![0]].concat();
    let ascending = [to_worker.clone(), to_none.clone()];
    vec![
        spelled(
            "connections-unordered",
            "Ids descend.",
            replaced(&busy(), "connections", &ascending, &[to_none, to_worker]),
        ),
        inconsistent(
            "connection-unknown",
            "A connection that the state does not know.",
            fresh_with("descriptors", &connection(16), &connection(15)),
        ),
        inconsistent(
            "buffers-unknown",
            "Buffers of another connection.",
            fresh_with("connections", &buffer(16), &buffer(15)),
        ),
        inconsistent(
            "given-and-not",
            "The state has given a connection to a worker, and its buffers deny it.",
            replaced(&busy(), "connections", &given(1), &given(0)),
        ),
        inconsistent(
            "connection-not-older",
            "The next connection would have the number of an open one.",
            fresh_with("connections", &next(17), &next(16)),
        ),
    ]
}

fn fresh() -> Vec<u8> {
    encode(&golden::fresh(), None, None).expect("a golden state")
}

fn mid_upgrade() -> Vec<u8> {
    encode(&golden::mid_upgrade(), None, None).expect("a golden state")
}

fn busy() -> Vec<u8> {
    encode(&golden::busy(), None, None).expect("a golden state")
}

fn fresh_with(section: &str, from: &[Vec<u8>], to: &[Vec<u8>]) -> Vec<u8> {
    replaced(&fresh(), section, from, to)
}
