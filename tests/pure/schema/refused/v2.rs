//! The same of version 2: what it adds, where that cannot be. Patched where it stands in `busy`,
//! but for what only another golden state has.

use einhorn::schema::{HEADER_BYTES, encode};

use super::super::golden::{busy, v2};
use super::{Refused, inconsistent, refused, replaced, sealed, u32s, u64s};

pub(super) fn all() -> Vec<Refused> {
    let mut all = structures();
    all.extend(options());
    all.extend(generations());
    all.extend(deployments());
    all.extend(rollouts());
    all.extend(last_upgrades());
    all.extend(captured());
    all
}

/// Payloads that are no version 2.
fn structures() -> Vec<Refused> {
    let busy = encode(&busy(2), 2, None, None).expect("a golden state");
    let payload = &busy[HEADER_BYTES..];
    let stage = |variant| [u32s(&[variant]), vec![1], u32s(&[4_002]), vec![1]];
    // Pinned, and that there is a time-out of an ACK.
    let mode = |variant| [u32s(&[variant]), vec![1], u64s(&[45_500_000_000])];
    // The id, which is a truth, and that no events are wanted.
    let waits_for = |variant, wants| [vec![1], u32s(&[0]), vec![1], u32s(&[variant]), vec![wants]];
    vec![
        refused(
            "stage-variant",
            "Undecodable",
            "A stage of a later release.",
            canary_with(&stage(0), &stage(2)),
        ),
        refused(
            "mode-variant",
            "Undecodable",
            "A re-exec mode of a later release.",
            with(&mode(1), &mode(2)),
        ),
        refused(
            "waits-for-variant",
            "Undecodable",
            "A client waits for what only a later release knows.",
            with(&waits_for(4, 0), &waits_for(5, 0)),
        ),
        refused(
            "wants-events-bool",
            "Undecodable",
            "A truth value of 2.",
            with(&waits_for(4, 0), &waits_for(4, 2)),
        ),
        refused(
            "payload-short",
            "Undecodable",
            "The payload stops inside its last field, and the header agrees.",
            sealed(2, &payload[..payload.len() - 1]),
        ),
        refused(
            "payload-long",
            "UnreadBytes",
            "A byte follows the last field, and the header counts it.",
            sealed(2, &[payload, &[0]].concat()),
        ),
    ]
}

/// Options that no command line may have.
fn options() -> Vec<Refused> {
    let span = |from: u64| with(&[u64s(&[from])], &[u64s(&[u64::MAX])]);
    let word = |from: &[u8], to: &[u8]| with(&[counted(from)], &[counted(to)]);
    let failures_max = |max| [u64s(&[1_800_000_000_000]), vec![1], u32s(&[max])];
    vec![
        inconsistent("ack-timeout-long", "584 years for an ACK.", span(45_500_000_000)),
        inconsistent("upgrade-timeout-long", "As long for an upgrade.", span(1_800_000_000_000)),
        inconsistent("canary-long", "A canary that is to live as long.", span(33_000_000_000)),
        inconsistent("on-canary-long", "A look at it that may take it.", span(12_000_000_001)),
        inconsistent(
            "failures-none",
            "A roll-out that ends with failure 0.",
            with(&failures_max(13), &failures_max(0)),
        ),
        inconsistent("on-canary-nul", "A word that no C string holds.", word(b"\xfd\n", b"\xfd\0")),
        inconsistent(
            "chdir-relative",
            "It would depend on the directory that it sets.",
            word(b"/srv/shop/current", b"srv//shop/current"),
        ),
        inconsistent(
            "chdir-nul",
            "A path that no C string holds.",
            word(b"/srv/shop/current", b"/srv/shop\0current"),
        ),
        inconsistent(
            "env-file-relative",
            "It would depend on the directory.",
            word(b"/etc/shop/\xffenv", b"etc//shop/\xffenv"),
        ),
        inconsistent(
            "metrics-file-relative",
            "It would depend on the directory.",
            word(b"/run/shop/einhorn.prom", b"run//shop/einhorn.prom"),
        ),
    ]
}

/// Numbers of generations that were never given, or cannot follow each other.
fn generations() -> Vec<Refused> {
    // The count of re-execs follows.
    let newest = |newest| [u32s(&[7, newest, 8])];
    let order = |generation| [u32s(&[5, 6, 9, generation])];
    vec![
        inconsistent(
            "generation-not-given",
            "What serves is above the highest number given.",
            with(&newest(9), &newest(6)),
        ),
        inconsistent(
            "worker-of-the-future",
            "A worker is of one that was never given.",
            with(&[u32s(&[5_004, 6, 9])], &[u32s(&[5_004, 6, 10])]),
        ),
        inconsistent(
            "order-of-the-future",
            "A worker is ordered of one that was never given.",
            with(&order(7), &order(10)),
        ),
    ]
}

/// Directories and variables that workers cannot have.
fn deployments() -> Vec<Refused> {
    let seven = counted(b"/srv/shop/releases/7");
    let deployed = |generation| [u32s(&[generation]), vec![1], seven.clone()];
    let word = |from: &[u8], to: &[u8]| with(&[counted(from)], &[counted(to)]);
    // It was given a connection, and runs in the directory of a release.
    let worker = |path: &[u8]| [vec![1], u64s(&[70_001]), vec![1], counted(path)];
    let deaths = |slot| [u32s(&[2, 5, slot, 1])];
    let absent = [vec![0]];
    let given = |path: &[u8]| [vec![1], counted(path)];
    vec![
        inconsistent(
            "deployments-unordered",
            "Two are of one generation.",
            with(&deployed(7), &deployed(6)),
        ),
        inconsistent(
            "deployment-of-the-future",
            "One is of a generation that was never given.",
            with(&deployed(7), &deployed(10)),
        ),
        inconsistent(
            "deployment-relative",
            "Its directory is not absolute.",
            word(b"/srv/shop/releases/7", b"srv//shop/releases/7"),
        ),
        inconsistent(
            "next-deployment-nul",
            "Its directory is what no C string holds.",
            word(b"/srv/shop/releases/10", b"/srv/shop/releases\x0010"),
        ),
        inconsistent(
            "worker-directory-relative",
            "A worker runs in a directory that is not absolute.",
            with(&worker(b"/srv/shop/releases/6"), &worker(b"srv//shop/releases/6")),
        ),
        inconsistent("variable-unnamed", "A variable without a name.", word(b"TOKEN_7", b"")),
        inconsistent(
            "variable-equals",
            "A name that ends before its end.",
            word(b"TOKEN_10", b"TOKEN=10"),
        ),
        inconsistent(
            "variable-nul",
            "A name that no C string holds.",
            word(b"TOKEN_6", b"TOKEN\x006"),
        ),
        inconsistent(
            "directory-unasked",
            "A directory, and no `--chdir`.",
            with(&given(b"/srv/shop/current"), &absent),
        ),
        inconsistent(
            "variables-unasked",
            "Variables, and no `--env-file`.",
            with(&given(b"/etc/shop/\xffenv"), &absent),
        ),
        inconsistent("slot-deaths-twice", "An index twice.", with(&deaths(300), &deaths(2))),
    ]
}

/// Roll-outs that do not agree with themselves.
fn rollouts() -> Vec<Refused> {
    // Replacing, so many failures, two of them told.
    let counted = |count| [u32s(&[1, count]), u64s(&[2])];
    // Smooth or not, from generation 0 or 6, asked for at some time.
    let canary = |kind| [vec![1], u32s(&[kind, 0]), u64s(&[86_550_000_000_150])];
    let busy = |from| [vec![1], u32s(&[0, from]), u64s(&[86_690_000_000_290])];
    let process = |pid| [vec![1], u32s(&[4_002]), vec![1], u32s(&[pid])];
    let check = |pid| canary_with(&process(4_004), &process(pid));
    // When it is overdue, and that it is; no failures; no last upgrade.
    let due = || u64s(&[86_661_000_000_261]);
    let none = [due(), vec![1], u32s(&[0]), u64s(&[0]), vec![0]];
    let many = [due(), vec![1], u32s(&[9]), failures(9), vec![0]];
    vec![
        inconsistent(
            "rollout-from",
            "It goes back to what came after it.",
            with(&busy(6), &busy(8)),
        ),
        inconsistent(
            "failures-uncounted",
            "It counts one failure, and tells of two.",
            with(&counted(11), &counted(1)),
        ),
        inconsistent("failures-many", "It tells of nine.", canary_with(&none, &many)),
        inconsistent("fleet-canary", "A fleet has none.", canary_with(&canary(0), &canary(1))),
        inconsistent("check-is-worker", "The canary looks at itself.", check(4_002)),
        inconsistent("check-is-master", "The master looks at the canary itself.", check(4_000)),
        inconsistent("check-is-init", "Process 1 looks at the canary.", check(1)),
    ]
}

/// Ends of upgrades that cannot have been.
fn last_upgrades() -> Vec<Refused> {
    let directory = |path: &[u8]| [vec![1], counted(path)];
    let about =
        |generation| [u32s(&[2, generation]), vec![1], counted(b"/srv/shop/releases/\xff8")];
    let left = |failures: Vec<u8>| [u64s(&[1_795_000_333_000_000_999]), failures];
    let leaving = encode(&v2::leaving(), 2, None, None).expect("a golden state");
    let took = |span| with(&[u64s(&[61_000_000_003])], &[u64s(&[span])]);
    // How old the last failure of the roll-out was; the last upgrade follows.
    let words = |words: &[u8]| [vec![1], counted(words), vec![1], u32s(&[2, 1])].concat();
    let said = "größer\nals \\u{1b}".as_bytes();
    let age = |span| [u64s(&[span]), words(said)];
    vec![
        inconsistent(
            "outcome-unknown",
            "It ended as none does.",
            with(&[counted(b"timed_out")], &[counted(b"timed-out")]),
        ),
        inconsistent(
            "ended-of-the-future",
            "It was about a generation that was never given.",
            with(&about(1), &about(10)),
        ),
        inconsistent(
            "ended-relative",
            "It was about a directory that is not absolute.",
            with(&directory(b"/srv/shop/releases/\xff8"), &directory(b"srv//shop/releases/\xff8")),
        ),
        inconsistent("took-long", "It took 584 years.", took(u64::MAX)),
        inconsistent(
            "failure-old",
            "A worker that failed had lived as long.",
            with(&age(120_000_000), &age(u64::MAX)),
        ),
        inconsistent(
            "last-words-long",
            "Somebody goes on and on.",
            with(&[words(said)], &[words(&b"x".repeat(4 * 1024 + 1))]),
        ),
        inconsistent(
            "ended-failures-many",
            "It tells of nine failures.",
            replaced(&leaving, &left(u64s(&[0])), &left(failures(9))),
        ),
    ]
}

/// Pipes that nobody has made.
fn captured() -> Vec<Refused> {
    let pipe = |pid, is_orphan, number| [u32s(&[pid]), vec![is_orphan], u32s(&[number]), vec![14]];
    let another =
        |pid, is_orphan, number| with(&pipe(5_002, 0, 1_031), &pipe(pid, is_orphan, number));
    let said = b"starting\nlistening on \xff, worker";
    let kept = |kept: &[u8], unsent| [counted(kept), u32s(&[unsent])];
    let metrics = |is_captured| [counted(b"/run/shop/einhorn.prom"), vec![is_captured]];
    vec![
        inconsistent("captured-unasked", "Pipes, and no option.", with(&metrics(1), &metrics(0))),
        inconsistent("captured-standard", "It is our own.", another(5_002, 0, 2)),
        inconsistent("captured-number-twice", "Two have one number.", another(5_002, 0, 1_032)),
        inconsistent("captured-command-socket", "It is another's.", another(5_002, 0, 1_001)),
        inconsistent("captured-unknown", "There is no such worker.", another(5_999, 0, 1_031)),
        inconsistent(
            "captured-worker-twice",
            "A worker has two.",
            with(&pipe(5_002, 1, 1_032), &pipe(5_002, 0, 1_032)),
        ),
        inconsistent(
            "captured-unsent",
            "More of it is unsent than is kept.",
            with(&kept(said, 6), &kept(said, 40)),
        ),
        inconsistent(
            "captured-long",
            "More is kept than ever is.",
            with(&kept(said, 6), &kept(&b"x".repeat(16 * 1024 + 1), 6)),
        ),
        refused("captured-bool", "Undecodable", "A truth value of 2.", another(5_002, 2, 1_031)),
    ]
}

/// A list of failures to start a worker.
fn failures(count: u32) -> Vec<u8> {
    let one = |slot| [vec![0], u32s(&[slot]), counted(b"?"), u64s(&[0]), vec![0]].concat();
    [u64s(&[count.into()]), (0..count).flat_map(one).collect()].concat()
}

/// Bytes behind their count.
fn counted(bytes: &[u8]) -> Vec<u8> {
    [&u64s(&[bytes.len() as u64]), bytes].concat()
}

fn with(from: &[Vec<u8>], to: &[Vec<u8>]) -> Vec<u8> {
    replaced(&encode(&busy(2), 2, None, None).expect("a golden state"), from, to)
}

fn canary_with(from: &[Vec<u8>], to: &[Vec<u8>]) -> Vec<u8> {
    replaced(&encode(&v2::canary(), 2, None, None).expect("a golden state"), from, to)
}
