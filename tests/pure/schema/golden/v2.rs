//! The hand-overs of version 2: those of version 1, and what it has no words for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use einhorn::outcome::Outcome;
use einhorn::scalar::Scalar;
use einhorn::schema::{CarriedPipe, Handover, Identity};
use einhorn::state::{
    CanaryCheck, Config, ConnectionId, Deployment, EndedUpgrade, Failure, Generation, Pid,
    ReexecMode, Rollout, RolloutBounds, RolloutKind, RolloutStage, Signal, Slot, State,
    UpgradeKind, Waiter, WaitsFor, Worker,
};

use super::Golden;
use super::v1::{self, now, os, path, words};

pub(super) fn all() -> Vec<Golden> {
    let golden =
        |name, rollback, report, handover| Golden { version: 2, name, rollback, report, handover };
    vec![
        golden("busy", Some(1_021), None, busy()),
        golden("canary", Some(41), Some(42), canary()),
        golden("fresh", None, None, fresh()),
        golden("leaving", None, None, leaving()),
        golden("restoring", Some(41), None, restoring()),
    ]
}

/// A master just started with all defaults; its first worker is up, and it is told to reload.
pub(super) fn fresh() -> Handover {
    let mut handover = v1::fresh();
    ask_at(&mut handover.state, 109);
    handover
}

/// A canary is looked at, and another upgrade is asked about meanwhile.
pub(in super::super) fn canary() -> Handover {
    let mut handover = v1::mid_upgrade();
    let state = &mut handover.state;
    ask_at(state, 202);
    state.config.rollout.canary = Duration::from_secs(20);
    state.config.rollout.on_canary = words(&["bin/look", "--twice"]);
    state.cold_start_count = 0;
    let (asked_at, began_at) = (now(150).monotonic, now(199).monotonic);
    let mut rollout = Rollout::new(RolloutKind::Smooth, Generation(0), asked_at, began_at);
    rollout.stage = RolloutStage::Canary {
        check: Some(CanaryCheck {
            worker: Pid(4_002),
            process: Some(Pid(4_004)),
            deadline: now(261).monotonic,
            is_overdue: true,
        }),
    };
    state.rollout = Some(rollout);
    state.workers.get_mut(&Pid(4_002)).expect("the canary").acked_at = Some(now(202).monotonic);
    state.waiters[0].wants_events = true;
    handover
}

/// An upgrade has failed: its last worker serves on until an old one is up again in its place.
fn restoring() -> Handover {
    let mut handover = fresh();
    let state = &mut handover.state;
    state.config.target = 2;
    state.newest_generation = Generation(1);
    let failed = Worker { acked_at: Some(now(210).monotonic), ..plain(1, 1, 205) };
    let overrun = Worker {
        has_overrun: true,
        signaled: BTreeSet::from([Signal::Usr2]),
        told_to_go_at: Some(now(330).monotonic),
        last_signaled_on: Some(now(330).realtime),
        ..plain(3, 1, 206)
    };
    state.workers.extend([(Pid(4_012), failed), (Pid(4_013), overrun)]);
    state.ordered.insert(Slot(2), Generation(0));
    state.slot_deaths.insert(Slot(2), 3);
    state.last_upgrade = Some(ended(UpgradeKind::Smooth, Outcome::Failed));
    handover
}

/// A master on its way out, after an upgrade that somebody has stopped.
pub(in super::super) fn leaving() -> Handover {
    let mut handover = v1::leaving();
    let state = &mut handover.state;
    state.last_upgrade = Some(EndedUpgrade {
        failures: Vec::new(),
        generation: Generation(0),
        ..ended(UpgradeKind::Fleet, Outcome::Aborted)
    });
    state.waiters.push(Waiter {
        connection: ConnectionId(16),
        request_id: Some(Scalar::Integer(1)),
        waits_for: WaitsFor::Exit,
        wants_events: true,
    });
    handover
}

/// Every field off its default, but those that exclude what is set.
pub(super) fn busy() -> Handover {
    let mut handover = v1::busy();
    let state = &mut handover.state;
    ask_at(state, 310);
    state.newest_generation = Generation(9);
    change(&mut state.config);
    let mut rollout =
        Rollout::new(RolloutKind::Smooth, Generation(6), now(290).monotonic, now(295).monotonic);
    rollout.stage = RolloutStage::Replacing;
    rollout.failure_count = 11;
    rollout.failures = failures();
    state.rollout = Some(rollout);
    state.last_upgrade = Some(EndedUpgrade {
        directory: Some(path(b"/srv/shop/releases/\xff8")),
        ..ended(UpgradeKind::Fleet, Outcome::TimedOut)
    });
    state.deployments =
        BTreeMap::from([(Generation(6), deployment(6)), (Generation(7), deployment(7))]);
    state.next_deployment = Some(deployment(10));
    state.slot_deaths = BTreeMap::from([(Slot(2), 5), (Slot(300), 1)]);
    let worker = state.workers.get_mut(&Pid(5_001)).expect("the old one");
    worker.directory = Some("/srv/shop/releases/6".into());
    worker.has_overrun = true;
    state.workers.insert(Pid(5_004), plain(6, 9, 430));
    let exit = Waiter { waits_for: WaitsFor::Exit, ..state.waiters[0].clone() };
    state.waiters.push(exit);
    state.waiters[3].waits_for = WaitsFor::Settled;
    state.waiters[3].wants_events = true;
    handover.captured = vec![
        pipe(5_002, 1_031, b"starting\nlistening on \xff, worker", 6),
        // Of a worker that had the pid before; what it has started speaks on.
        CarriedPipe { is_orphan: true, ..pipe(5_002, 1_032, b"\x1b[1m", 0) },
    ];
    handover.unlogged = b"the rest of a line\n[MASTER 5000] ERROR: \xfe\n".to_vec();
    handover
}

fn pipe(pid: i32, number: i32, kept: &[u8], unsent: u32) -> CarriedPipe {
    let inode = 90_000 + u64::try_from(number).expect("a descriptor");
    let identity = Identity { device: 14, inode, file_type: 0o010_000, ..Identity::default() };
    let (pid, kept) = (Pid(pid), kept.to_vec());
    CarriedPipe { pid, is_orphan: false, number, identity, kept, unsent }
}

/// Sets every option that version 1 does not know.
fn change(config: &mut Config) {
    config.reexec_mode = ReexecMode::Pinned;
    config.rollout = RolloutBounds {
        ack_timeout: Some(Duration::from_millis(45_500)),
        upgrade_timeout: Some(Duration::from_secs(1_800)),
        failures_max: Some(13),
        canary: Duration::from_secs(33),
        on_canary: vec!["/srv/shop/bin/look".into(), os(b"\xfd\n")],
        on_canary_timeout: Duration::from_nanos(12_000_000_001),
    };
    config.chdir = Some("/srv/shop/current".into());
    config.env_file = Some(path(b"/etc/shop/\xffenv"));
    config.metrics_file = Some("/run/shop/einhorn.prom".into());
    config.capture_stderr = true;
}

fn ask_at(state: &mut State, seconds: u64) {
    state.reexec.as_mut().expect("a step").asked_at = now(seconds).monotonic;
}

fn plain(slot: u32, generation: u32, at: u64) -> Worker {
    Worker::new(Slot(slot), Generation(generation), now(at))
}

fn ended(kind: UpgradeKind, outcome: Outcome) -> EndedUpgrade {
    EndedUpgrade {
        kind,
        generation: Generation(1),
        directory: None,
        outcome,
        message: "Upgrade failed: größer\n".into(),
        took: Duration::from_nanos(61_000_000_003),
        ended_on: now(333).realtime,
        failures: failures(),
    }
}

/// One that could not be started, and one that died.
fn failures() -> Vec<Failure> {
    let failure = |pid, slot, what: &str, age, last_words: Option<&str>| Failure {
        pid,
        slot: Slot(slot),
        what: what.into(),
        age: Duration::from_millis(age),
        last_words: last_words.map(str::to_owned),
    };
    vec![
        failure(None, 7, "cannot execute /srv/shop/bin/app", 0, None),
        failure(Some(Pid(5_103)), 8, "exit status 3", 120, Some("größer\nals \\u{1b}")),
    ]
}

fn deployment(number: u32) -> Deployment {
    let (name, directory) = (format!("TOKEN_{number}"), format!("/srv/shop/releases/{number}"));
    Deployment {
        directory: Some(directory.into()),
        environment: vec![(name.into(), "opensesame".into()), (os(b"ODD\xfe"), os(b"=\xff"))],
    }
}
