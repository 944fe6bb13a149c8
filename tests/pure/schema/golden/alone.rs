//! Each optional section, with nothing to say but it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use einhorn::outcome::Outcome;
use einhorn::schema::{CarriedConnection, CarriedFile, CarriedSender, Handover, Origin, Role};
use einhorn::state::{
    Address, Bind, Config, Connection, ConnectionId, Deployment, Disposition, EndedUpgrade,
    EndingUpgrade, Family, Generation, Leftover, Listener, ListenerOptions, Pid, Reexec, Rollout,
    RolloutKind, Signal, Slot, Stage, State, StopSchedule, StopSignal, UpgradeKind, Waiter,
    WaitsFor, Worker,
};

use super::busy::{ended, killed, now, path, pipe, plain, socket};

/// A section, and how a master comes to have something to say in it.
pub(super) type Alone = (&'static str, fn(&mut Handover));

/// Every optional section, in the order of the bytes.
pub(in super::super) const ALONE: &[Alone] = &[
    ("listeners", listen),
    ("files", |h| {
        h.files.push(CarriedFile { path: "/tmp/einhorn.sock".into(), device: 9, inode: 90_005 });
    }),
    ("children", |h| h.helpers.push((Pid(4_005), "renice".into()))),
    ("rollout-bounds", |h| h.state.config.rollout.ack_timeout = None),
    ("metrics-file", |h| h.state.config.metrics_file = Some("/run/einhorn.prom".into())),
    ("deployments", deploy),
    // It needs the option that it comes of.
    ("worker-directories", |h| {
        deploy(h);
        let directory = Some(PathBuf::from("/srv/releases/1"));
        h.state.workers.insert(Pid(4_001), Worker { directory, ..plain(0, 0, 100) });
    }),
    ("missed-acks", |h| {
        let worker = Worker { missed_ack_deadline: true, ..plain(0, 0, 100) };
        h.state.workers.insert(Pid(4_001), worker);
    }),
    ("reexec", |h| {
        h.state.reexec = Some(Reexec {
            kind: UpgradeKind::Fleet,
            asked_at: now(109).monotonic,
            stage: Stage::HandingOver,
            is_hand_back: false,
        });
    }),
    ("rollout", |h| {
        let (asked_at, began_at) = (now(110).monotonic, now(111).monotonic);
        h.state.rollout =
            Some(Rollout::new(RolloutKind::Smooth, Generation(0), asked_at, began_at));
    }),
    ("waiters", wait),
    ("worker-stderr", |h| {
        h.state.config.capture_stderr = true;
        h.worker_stderr
            .push(einhorn::schema::CarriedPipe { is_orphan: true, ..pipe(4_009, 9, b"", 0) });
    }),
    ("unlogged", |h| h.unlogged = b"the rest\n".to_vec()),
    ("last-upgrade", |h| {
        let ended = ended(UpgradeKind::Smooth, Outcome::Failed);
        h.state.last_upgrade = Some(EndedUpgrade { generation: Generation(0), ..ended });
    }),
    ("slot-deaths", |h| h.state.slot_deaths.extend([(Slot(2), 3)])),
    ("senders", half_a_line),
    ("stop", |h| h.state.config.stop = Some(StopSchedule::parse("TERM/30/KILL").unwrap())),
    ("suspensions", |h| {
        let mut worker = plain(0, 0, 100);
        worker.suspension.begin(Signal::Ttin, now(120));
        h.state.workers.insert(Pid(4_001), worker);
    }),
    ("programs", |h| {
        let worker = Worker { program: Some("python3".into()), ..plain(0, 0, 100) };
        h.state.workers.insert(Pid(4_001), worker);
    }),
    ("dispositions", |h| {
        let worker = Worker { disposition: Some(Disposition::Blocked), ..plain(0, 0, 100) };
        h.state.workers.insert(Pid(4_001), worker);
    }),
    ("stop-signals", |h| {
        let worker = Worker {
            signaled: [Signal::Usr2].into(),
            stop_requested_at: Some(now(121).monotonic),
            stop_signal: Some(StopSignal::ordered(Signal::Usr2)),
            ..plain(0, 0, 100)
        };
        h.state.workers.insert(Pid(4_001), worker);
    }),
    ("leftovers", |h| {
        let (worker, look_at) = (plain(0, 0, 100), now(122).monotonic);
        let leftover = Leftover { worker, count: 2, program: None, look_at };
        h.state.leftovers.insert(Pid(4_006), leftover);
    }),
    ("ending-upgrade", |h| {
        let ended = EndedUpgrade {
            generation: Generation(0),
            directory: Some(path(b"/srv/releases/\xff2")),
            killed: killed("node", Signal::Usr2, [3, 4]),
            ..ended(UpgradeKind::Fleet, Outcome::Done)
        };
        let deadline = now(123).monotonic;
        h.state.ending_upgrade = Some(EndingUpgrade { ended, failure_count: 5, deadline });
    }),
    ("warned", |h| h.state.warned_generation = Some(Generation(0))),
];

/// The sections of the release after this one, in the build that knows them.
pub(super) const NEXT: &[Alone] = &[
    #[cfg(feature = "next")]
    ("note", |h| h.state.note = Some("remember".into())),
    #[cfg(feature = "next")]
    ("hint", |h| h.state.hint = Some("perhaps".into())),
];

/// A master with all defaults that has started nothing yet, and has nothing to say in any section
/// that may be left out.
pub(crate) fn none() -> Handover {
    let config = Config {
        original_command: vec!["./app".into(), "srv:127.0.0.1:8080".into()],
        socket_path: "/tmp/einhorn.sock".into(),
        pidfile: "/tmp/einhorn.pid".into(),
        lockfile: "/tmp/einhorn.lock".into(),
        ..Config::new(vec!["./app".into(), "6".into()])
    };
    let mut state = State::new(config, Vec::new(), Pid(4_000), 2);
    state.cold_start_count = 0;
    Handover {
        release: "0.1.0".into(),
        state,
        origin: Origin {
            own_path: "/usr/bin/einhorn".into(),
            own_name: "einhorn".into(),
            environment: vec![("PATH".into(), "/usr/bin:/bin".into())],
            blocked_signals: 0,
            open_files_soft: 1_024,
            open_files_hard: 524_288,
            nice: 0,
        },
        descriptors: vec![socket(Role::CommandSocket, 5, true)],
        connections: Vec::new(),
        next_connection: ConnectionId(17),
        helpers: Vec::new(),
        files: Vec::new(),
        worker_stderr: Vec::new(),
        unlogged: Vec::new(),
        senders: BTreeMap::new(),
    }
}

fn listen(handover: &mut Handover) {
    handover.descriptors.push(socket(Role::Listener(0), 6, true));
    handover.state.listeners.push(Listener {
        bind: Bind {
            address: Address::Tcp { host: "::1".into(), port: 0 },
            options: ListenerOptions::default(),
        },
        bound_by: einhorn::state::BoundBy::Option,
        descriptor: 6,
        family: Family::Inet6,
        port: Some(49_152),
    });
}

fn deploy(handover: &mut Handover) {
    let state = &mut handover.state;
    state.config.chdir = Some("/srv/current".into());
    let begun = Deployment { directory: Some("/srv/releases/1".into()), environment: Vec::new() };
    state.deployments.insert(Generation(0), begun);
}

fn half_a_line(handover: &mut Handover) {
    let id = ConnectionId(16);
    handover.descriptors.push(socket(Role::Connection(id), 8, false));
    let (input, is_given) = (b"{".to_vec(), true);
    handover.connections =
        vec![CarriedConnection { id, input, is_given, ..CarriedConnection::default() }];
    handover.state.connections.insert(id, Connection::default());
    let sender = CarriedSender { length: 1, pid: 4_007, uid: 33 };
    handover.senders.insert(id, vec![sender]);
}

fn wait(handover: &mut Handover) {
    let id = ConnectionId(16);
    handover.descriptors.push(socket(Role::Connection(id), 8, false));
    handover.connections = vec![CarriedConnection { id, ..CarriedConnection::default() }];
    let state = &mut handover.state;
    state.connections.insert(id, Connection::default());
    let waits_for = WaitsFor::Settled;
    let waiter = Waiter {
        connection: id,
        request_id: None,
        waits_for,
        wants_events: false,
        until_drained: false,
        killed_count: 0,
    };
    state.waiters.push(waiter);
}
