//! What cannot be of the other sections. Patched where it stands in `busy`, but for what only
//! another golden state has.

use einhorn::schema::encode;

use super::super::golden::{busy, canary, leaving};
use super::stopping::failures;
use super::{Refused, counted, inconsistent, refused, replaced, span, spelled, u32s, u64s};

pub(super) fn all() -> Vec<Refused> {
    let mut all = structures();
    all.extend(options());
    all.extend(generations());
    all.extend(deployments());
    all.extend(columns());
    all.extend(rollouts());
    all.extend(last_upgrades());
    all.extend(captured());
    all.extend(senders());
    all
}

/// Contents that are not what their sections are made of.
fn structures() -> Vec<Refused> {
    let undecodable = |name, comment, bytes| refused(name, "Undecodable", comment, bytes);
    let stage = |variant| [u32s(&[variant]), vec![1], u32s(&[4_002]), vec![1]];
    // The last word of the re-exec command, and what a re-exec runs.
    let mode = |variant| [b"--quiet".to_vec(), u32s(&[variant])];
    // The id, which is a truth, and that no events are wanted.
    let waits_for = |variant, wants| [vec![1], u32s(&[0]), vec![1], u32s(&[variant]), vec![wants]];
    let waiter = |variant, wants| with("waiters", &waits_for(5, 0), &waits_for(variant, wants));
    vec![
        undecodable(
            "stage-variant",
            "A stage of a later release.",
            canary_with(&stage(0), &stage(2)),
        ),
        undecodable(
            "mode-variant",
            "A re-exec mode of a later release.",
            with("options", &mode(1), &mode(2)),
        ),
        undecodable(
            "waits-for-variant",
            "A client waits for what only a later release knows.",
            waiter(6, 0),
        ),
        undecodable("wants-events-bool", "A truth value of 2.", waiter(5, 2)),
    ]
}

/// Options that no command line may have.
fn options() -> Vec<Refused> {
    let bounds = |from: &[Vec<u8>], to: &[Vec<u8>]| with("rollout-bounds", from, to);
    let long = |from, part| bounds(&[span(from, part)], &[span(u64::MAX, part)]);
    let word =
        |section: &str, from: &[u8], to: &[u8]| with(section, &[counted(from)], &[counted(to)]);
    let failures_max = |max| [span(1_800, 0), vec![1], u32s(&[max])];
    vec![
        inconsistent("ack-timeout-long", "An age of the world for an ACK.", long(45, 500_000_000)),
        inconsistent("upgrade-timeout-long", "As long for an upgrade.", long(1_800, 0)),
        inconsistent("canary-long", "A canary that is to live as long.", long(33, 0)),
        inconsistent("on-canary-long", "A look at it that may take it.", long(12, 1)),
        inconsistent(
            "failures-none",
            "A roll-out that ends with failure 0.",
            bounds(&failures_max(13), &failures_max(0)),
        ),
        inconsistent(
            "on-canary-nul",
            "A word that no C string holds.",
            word("rollout-bounds", b"\xfd\n", b"\xfd\0"),
        ),
        inconsistent(
            "chdir-relative",
            "It would depend on the directory that it sets.",
            word("deployments", b"/srv/shop/current", b"srv//shop/current"),
        ),
        inconsistent(
            "chdir-nul",
            "A path that no C string holds.",
            word("deployments", b"/srv/shop/current", b"/srv/shop\0current"),
        ),
        inconsistent(
            "env-file-relative",
            "It would depend on the directory.",
            word("deployments", b"/etc/shop/\xffenv", b"etc//shop/\xffenv"),
        ),
        inconsistent(
            "metrics-file-relative",
            "It would depend on the directory.",
            word("metrics-file", b"/run/shop/einhorn.prom", b"run//shop/einhorn.prom"),
        ),
    ]
}

/// Numbers of generations that were never given, or cannot follow each other.
fn generations() -> Vec<Refused> {
    // The count of orders follows.
    let newest = |newest| [u32s(&[7, newest, 2])];
    let order = |generation| [u32s(&[5, 6, 9, generation])];
    vec![
        inconsistent(
            "generation-not-given",
            "What serves is above the highest number given.",
            with("pool", &newest(9), &newest(6)),
        ),
        inconsistent(
            "worker-never-given",
            "A worker is of one that was never given.",
            with("workers", &[u32s(&[5_004, 6, 9])], &[u32s(&[5_004, 6, 10])]),
        ),
        inconsistent(
            "drained-of-the-future",
            "A client waits for what comes before one that was never given.",
            with("waiters", &[u32s(&[3, 7])], &[u32s(&[3, 10])]),
        ),
        inconsistent(
            "warned-of-the-future",
            "Somebody was warned of one that was never given.",
            with("warned", &[vec![1], u32s(&[8])], &[vec![1], u32s(&[10])]),
        ),
        inconsistent(
            "order-of-the-future",
            "A worker is ordered of one that was never given.",
            with("pool", &order(7), &order(10)),
        ),
    ]
}

/// Directories and variables that workers cannot have.
fn deployments() -> Vec<Refused> {
    let seven = counted(b"/srv/shop/releases/7");
    let deployed = |generation| [u32s(&[generation]), vec![1], seven.clone()];
    let begun = |from: &[Vec<u8>], to: &[Vec<u8>]| with("deployments", from, to);
    let word = |from: &[u8], to: &[u8]| begun(&[counted(from)], &[counted(to)]);
    let absent = [vec![0]];
    let given = |path: &[u8]| [vec![1], counted(path)];
    vec![
        spelled(
            "deployments-unordered",
            "Two are of one generation.",
            begun(&deployed(7), &deployed(6)),
        ),
        inconsistent(
            "deployment-of-the-future",
            "One is of a generation that was never given.",
            begun(&deployed(7), &deployed(10)),
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
            begun(&given(b"/srv/shop/current"), &absent),
        ),
        inconsistent(
            "variables-unasked",
            "Variables, and no `--env-file`.",
            begun(&given(b"/etc/shop/\xffenv"), &absent),
        ),
    ]
}

/// Columns of workers and indexes.
fn columns() -> Vec<Refused> {
    let worker = |pid, path: &[u8]| [u32s(&[pid]), vec![1], counted(path)];
    let directory = |pid, path: &[u8]| {
        with("worker-directories", &worker(5_001, b"/srv/shop/releases/6"), &worker(pid, path))
    };
    let deaths = |slot| [u32s(&[2, 5, slot, 1])];
    vec![
        inconsistent(
            "worker-directory-relative",
            "A worker runs in a directory that is not absolute.",
            directory(5_001, b"srv//shop/releases/6"),
        ),
        inconsistent(
            "worker-directory-unknown",
            "What runs in a directory is no worker.",
            directory(5_999, b"/srv/shop/releases/6"),
        ),
        inconsistent(
            "overrun-unknown",
            "What took too long is no worker.",
            with("missed-acks", &[u32s(&[5_001])], &[u32s(&[5_999])]),
        ),
        spelled(
            "slot-deaths-twice",
            "An index twice.",
            with("slot-deaths", &deaths(300), &deaths(2)),
        ),
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
    // When it is overdue, and that it is; no failures.
    let due = || u64s(&[86_661_000_000_261]);
    let none = [due(), vec![1], u32s(&[0]), u64s(&[0])];
    let many = [due(), vec![1], u32s(&[9]), failures(9)];
    vec![
        inconsistent(
            "rollout-from",
            "It goes back to what came after it.",
            with("rollout", &busy(6), &busy(8)),
        ),
        inconsistent(
            "failures-uncounted",
            "It counts one failure, and tells of two.",
            with("rollout", &counted(11), &counted(1)),
        ),
        inconsistent("failures-many", "It tells of nine.", canary_with(&none, &many)),
        inconsistent(
            "killed-signal-unknown",
            "There is no SIGIMT.",
            with("rollout", &[super::counted(b"INT")], &[super::counted(b"IMT")]),
        ),
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
    let leaving = encode(&leaving(), None, None).expect("a golden state");
    let ended = |from: &[Vec<u8>], to: &[Vec<u8>]| with("last-upgrade", from, to);
    let took = |seconds| ended(&[span(61, 3)], &[span(seconds, 3)]);
    // How old the last failure was, and what it said.
    let words = |words: &[u8]| [vec![1], counted(words)].concat();
    let said = "größer\nals \\u{1b}".as_bytes();
    let age = |seconds| [span(seconds, 120_000_000), words(said)];
    vec![
        inconsistent(
            "outcome-unknown",
            "It ended as none does.",
            ended(&[counted(b"timed_out")], &[counted(b"timed-out")]),
        ),
        inconsistent(
            "ended-of-the-future",
            "It was about a generation that was never given.",
            ended(&about(1), &about(10)),
        ),
        inconsistent(
            "ended-relative",
            "It was about a directory that is not absolute.",
            ended(&directory(b"/srv/shop/releases/\xff8"), &directory(b"srv//shop/releases/\xff8")),
        ),
        inconsistent("took-long", "It took an age of the world.", took(u64::MAX)),
        inconsistent(
            "failure-old",
            "A worker that failed had lived as long.",
            ended(&age(0), &age(u64::MAX)),
        ),
        inconsistent(
            "last-words-long",
            "Somebody goes on and on.",
            with("rollout", &[words(said)], &[words(&b"x".repeat(4 * 1024 + 1))]),
        ),
        inconsistent(
            "ended-failures-many",
            "It tells of nine failures.",
            replaced(&leaving, "last-upgrade", &left(u64s(&[0])), &left(failures(9))),
        ),
    ]
}

/// Pipes that nobody has made.
fn captured() -> Vec<Refused> {
    let pipes = |from: &[Vec<u8>], to: &[Vec<u8>]| with("worker-stderr", from, to);
    let pipe = |pid, is_orphan, number| [u32s(&[pid]), vec![is_orphan], u32s(&[number]), vec![14]];
    let another =
        |pid, is_orphan, number| pipes(&pipe(5_002, 0, 1_031), &pipe(pid, is_orphan, number));
    let said = b"starting\nlistening on \xff, worker";
    let kept = |kept: &[u8], unsent| [counted(kept), u32s(&[unsent])];
    let option = |is_captured| [vec![is_captured], u64s(&[2])];
    vec![
        inconsistent("captured-unasked", "Pipes, and no option.", pipes(&option(1), &option(0))),
        inconsistent("captured-standard", "It is our own.", another(5_002, 0, 2)),
        inconsistent("captured-number-twice", "Two have one number.", another(5_002, 0, 1_032)),
        inconsistent("captured-command-socket", "It is another's.", another(5_002, 0, 1_001)),
        inconsistent("captured-unknown", "There is no such worker.", another(5_999, 0, 1_031)),
        inconsistent(
            "captured-worker-twice",
            "A worker has two.",
            pipes(&pipe(5_002, 1, 1_032), &pipe(5_002, 0, 1_032)),
        ),
        inconsistent(
            "captured-unsent",
            "More of it is unsent than is kept.",
            pipes(&kept(said, 6), &kept(said, 40)),
        ),
        inconsistent(
            "captured-long",
            "More is kept than ever is.",
            pipes(&kept(said, 6), &kept(&b"x".repeat(16 * 1024 + 1), 6)),
        ),
        refused("captured-bool", "Undecodable", "A truth value of 2.", another(5_002, 2, 1_031)),
    ]
}

/// Bytes that cannot be from those who are said to have sent them.
fn senders() -> Vec<Refused> {
    // The connection, how many senders it has, and the first of them.
    let first = |id, length| [u64s(&[id, 3]), u32s(&[length]), u32s(&[5_101])];
    let last = |length, pid: u32| [u32s(&[length]), u32s(&[pid]), u32s(&[0])];
    let senders = |from: &[Vec<u8>], to: &[Vec<u8>]| with("senders", from, to);
    vec![
        inconsistent(
            "senders-of-a-client",
            "A connection that was given to nobody.",
            senders(&first(70_001, 11), &first(70_002, 11)),
        ),
        inconsistent(
            "senders-unknown",
            "There is no such connection.",
            senders(&first(70_001, 11), &first(70_009, 11)),
        ),
        inconsistent(
            "senders-of-more",
            "They have sent more than there is.",
            senders(&first(70_001, 11), &first(70_001, 12)),
        ),
        inconsistent(
            "senders-of-nothing",
            "One has sent nothing.",
            senders(&last(1, 5_102), &last(0, 5_102)),
        ),
        inconsistent(
            "senders-negative",
            "A process group has sent something.",
            senders(&last(1, 5_102), &last(1, u32::MAX)),
        ),
    ]
}

pub(super) fn with(section: &str, from: &[Vec<u8>], to: &[Vec<u8>]) -> Vec<u8> {
    replaced(&encode(&busy(), None, None).expect("a golden state"), section, from, to)
}

fn canary_with(from: &[Vec<u8>], to: &[Vec<u8>]) -> Vec<u8> {
    replaced(&encode(&canary(), None, None).expect("a golden state"), "rollout", from, to)
}
