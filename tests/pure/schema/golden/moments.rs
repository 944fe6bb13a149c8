//! Moments in the life of a master.

use std::collections::BTreeSet;
use std::time::Duration;

use einhorn::outcome::Outcome;
use einhorn::scalar::Scalar;
use einhorn::schema::{CarriedConnection, CarriedFile, Handover, Role};
use einhorn::state::{
    Address, Bind, CanaryCheck, Connection, ConnectionId, EndedUpgrade, Family, Generation,
    Listener, ListenerOptions, Pid, Reexec, Rollout, RolloutKind, RolloutStage, Signal, Slot,
    Stage, Stopping, UpgradeKind, Waiter, WaitsFor, Worker,
};

use super::alone::none;
use super::busy::{ended, file, now, plain, socket, words};

/// A master just started with all defaults; its first worker is up, and it is told to reload.
pub(in super::super) fn fresh() -> Handover {
    let mut handover = none();
    let state = &mut handover.state;
    state.listeners = vec![Listener {
        bind: Bind {
            address: Address::Tcp { host: "127.0.0.1".into(), port: 8080 },
            options: ListenerOptions::default(),
        },
        bound_by: einhorn::state::BoundBy::Word,
        descriptor: 6,
        family: Family::Inet,
        port: Some(8080),
    }];
    let acked_at = Some(now(101).monotonic);
    state.workers.insert(Pid(4_001), Worker { acked_at, ..plain(0, 0, 100) });
    state.last_spawn_at = Some(now(100).monotonic);
    state.last_spawned_on = Some(now(100).realtime);
    state.connections.insert(ConnectionId(16), Connection::default());
    state.reexec = Some(Reexec {
        kind: UpgradeKind::Reload,
        asked_at: now(109).monotonic,
        stage: Stage::HandingOver,
        is_hand_back: false,
    });
    state.waiters.push(Waiter {
        connection: ConnectionId(16),
        request_id: None,
        waits_for: WaitsFor::Reexec,
        wants_events: false,
        until_drained: false,
        killed_count: 0,
    });
    handover.descriptors.extend([
        socket(Role::Listener(0), 6, true),
        file(Role::Lock, 3),
        file(Role::SocketLock, 7),
        file(Role::Pidfile, 4),
        socket(Role::Connection(ConnectionId(16)), 8, false),
    ]);
    let id = ConnectionId(16);
    handover.connections = vec![CarriedConnection { id, ..CarriedConnection::default() }];
    handover.files =
        vec![CarriedFile { path: "/tmp/einhorn.sock".into(), device: 9, inode: 90_005 }];
    handover
}

/// A second upgrade is asked about while a fleet upgrade goes on.
pub(in super::super) fn mid_upgrade() -> Handover {
    let mut handover = fresh();
    let state = &mut handover.state;
    state.config.target = 2;
    state.generation = Generation(1);
    state.newest_generation = Generation(1);
    state.cold_start_count = 1;
    let (asked_at, began_at) = (now(99).monotonic, now(100).monotonic);
    state.rollout = Some(Rollout::new(RolloutKind::Fleet, Generation(0), asked_at, began_at));
    state.last_upgraded_on = Some(now(200).realtime);
    state.reexec_count = 1;
    state.reexecuted_at = Some(now(199).monotonic);
    state.workers.insert(Pid(4_002), plain(1, 1, 201));
    state.reexec = Some(Reexec {
        kind: UpgradeKind::Smooth,
        asked_at: now(202).monotonic,
        stage: Stage::Preflight {
            candidate: Some(Pid(4_003)),
            deadline: now(232).monotonic,
            is_overdue: true,
        },
        is_hand_back: true,
    });
    state.waiters[0].waits_for = WaitsFor::Rollout;
    state.waiters[0].request_id = Some(Scalar::Bool(true));
    handover.helpers = vec![(Pid(4_003), "candidate".into())];
    handover.descriptors.push(file(Role::Worker(Pid(4_001)), 9));
    handover.descriptors.push(file(Role::Worker(Pid(4_002)), 10));
    handover
}

/// A canary is looked at, and another upgrade is asked about meanwhile.
pub(in super::super) fn canary() -> Handover {
    let mut handover = mid_upgrade();
    let state = &mut handover.state;
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

/// An upgrade has failed: its last worker serves until an old one is up again in its place.
pub(super) fn restoring() -> Handover {
    let mut handover = fresh();
    let state = &mut handover.state;
    state.config.target = 2;
    state.newest_generation = Generation(1);
    let failed = Worker { acked_at: Some(now(210).monotonic), ..plain(1, 1, 205) };
    let overrun = Worker {
        missed_ack_deadline: true,
        signaled: BTreeSet::from([Signal::Usr2]),
        stop_requested_at: Some(now(330).monotonic),
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
    let mut handover = fresh();
    let state = &mut handover.state;
    state.stopping = Some(Stopping { exit_code: 1 });
    state.reexec = None;
    state.waiters.clear();
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
        until_drained: false,
        killed_count: 0,
    });
    handover
}
