//! The hand-overs of version 1.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use einhorn::scalar::Scalar;
use einhorn::schema::{Carried, CarriedConnection, CarriedFile, Handover, Identity, Origin, Role};
use einhorn::state::{
    AckMode, Address, Bind, Config, Connection, ConnectionId, Family, Generation, Listener,
    ListenerOptions, Monotonic, Nice, Now, Pid, Ping, Realtime, Reexec, ReexecMode, Rollout,
    RolloutBounds, RolloutKind, Signal, Slot, Stage, State, Stopping, UpgradeKind, Verbosity,
    Waiter, WaitsFor, Worker,
};

use super::Golden;

pub(super) fn all() -> Vec<Golden> {
    let golden =
        |name, rollback, report, handover| Golden { version: 1, name, rollback, report, handover };
    vec![
        golden("busy", Some(1_021), None, busy()),
        golden("fresh", None, None, fresh()),
        golden("leaving", None, None, leaving()),
        golden("mid-upgrade", Some(41), Some(42), mid_upgrade()),
    ]
}

/// A master just started with all defaults; its first worker is up, and it is told to reload.
pub(super) fn fresh() -> Handover {
    let listener = Listener {
        bind: Bind {
            address: Address::Tcp { host: "127.0.0.1".into(), port: 8080 },
            options: ListenerOptions::default(),
        },
        origin: einhorn::state::Origin::Word,
        descriptor: 6,
        family: Family::Inet,
        port: Some(8080),
    };
    let mut state = State::new(fresh_config(), vec![listener], Pid(4_000), 2);
    state.cold_start_count = 0;
    let mut worker = Worker::new(Slot(0), Generation(0), now(100));
    worker.acked_at = Some(now(101).monotonic);
    state.workers.insert(Pid(4_001), worker);
    state.last_spawn_at = Some(now(100).monotonic);
    state.last_spawned_on = Some(now(100).realtime);
    state.connections.insert(ConnectionId(16), Connection::default());
    state.reexec = Some(Reexec {
        kind: UpgradeKind::Reload,
        asked_at: Monotonic(0),
        stage: Stage::HandingOver,
        is_hand_back: false,
    });
    state.waiters.push(Waiter {
        connection: ConnectionId(16),
        request_id: None,
        waits_for: WaitsFor::Reexec,
        wants_events: false,
    });
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
        descriptors: vec![
            socket(Role::CommandSocket, 5, true),
            socket(Role::Listener(0), 6, true),
            file(Role::Lock, 3),
            file(Role::Pidfile, 4),
            socket(Role::Connection(ConnectionId(16)), 8, false),
        ],
        connections: vec![CarriedConnection {
            id: ConnectionId(16),
            input: Vec::new(),
            is_discarding: false,
            output: Vec::new(),
            is_given: false,
            has_ended: false,
            is_closing: false,
        }],
        next_connection: ConnectionId(17),
        helpers: Vec::new(),
        files: vec![CarriedFile { path: "/tmp/einhorn.sock".into(), device: 9, inode: 90_005 }],
        captured: Vec::new(),
        unlogged: Vec::new(),
    }
}

fn fresh_config() -> Config {
    Config {
        original_command: words(&["./app", "srv:127.0.0.1:8080"]),
        command: words(&["./app", "6"]),
        target: 1,
        backlog: 100,
        respawn_interval: Duration::from_secs(1),
        ack_mode: AckMode::Timer(Duration::from_secs(1)),
        signal_timeout: None,
        max_unacked: None,
        max_upgrade_additional: None,
        retries: None,
        kill_children_on_exit: false,
        command_socket_as_fd: false,
        command_name: None,
        socket_path: "/tmp/einhorn.sock".into(),
        pidfile: "/tmp/einhorn.pid".into(),
        lockfile: "/tmp/einhorn.lock".into(),
        nice: Nice::default(),
        reexec_as: Vec::new(),
        drop_env_vars: Vec::new(),
        verbosity: Verbosity::INFO,
        syslog: false,
        capture_stderr: false,
        reexec_mode: ReexecMode::Exec,
        rollout: RolloutBounds::default(),
        chdir: None,
        env_file: None,
        metrics_file: None,
    }
}

/// A master on its way out.
pub(super) fn leaving() -> Handover {
    let mut handover = fresh();
    let state = &mut handover.state;
    state.stopping = Some(Stopping { exit_code: 1 });
    state.reexec = None;
    state.waiters.clear();
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
    let began_at = now(100).monotonic;
    state.rollout = Some(Rollout::resumed(RolloutKind::Fleet, Generation(0), began_at));
    state.last_upgraded_on = Some(now(200).realtime);
    state.reexec_count = 1;
    state.reexecuted_at = Some(now(199).monotonic);
    state.workers.insert(Pid(4_002), Worker::new(Slot(1), Generation(1), now(201)));
    state.reexec = Some(Reexec {
        kind: UpgradeKind::Smooth,
        asked_at: Monotonic(0),
        stage: Stage::Preflight {
            candidate: Some(Pid(4_003)),
            schema: 1,
            deadline: now(232).monotonic,
            is_overdue: true,
        },
        is_hand_back: false,
    });
    state.waiters[0].waits_for = WaitsFor::Rollout;
    state.waiters[0].request_id = Some(Scalar::Bool(true));
    handover.helpers = vec![(Pid(4_003), "candidate".into())];
    handover.descriptors.push(file(Role::Worker(Pid(4_001)), 9));
    handover.descriptors.push(file(Role::Worker(Pid(4_002)), 10));
    handover
}

/// Every field off its default, but those that exclude what is set.
pub(super) fn busy() -> Handover {
    let connections = [
        (ConnectionId(70_001), Connection { given_to: Some(Pid(5_001)) }),
        (ConnectionId(70_002), Connection { given_to: None }),
        (ConnectionId(70_003), Connection { given_to: Some(Pid(5_999)) }),
    ];
    let state = State {
        processor_count: 12,
        workers: busy_workers(),
        ordered: BTreeMap::from([(Slot(5), Generation(6)), (Slot(9), Generation(7))]),
        connections: BTreeMap::from(connections),
        generation: Generation(7),
        newest_generation: Generation(7),
        reexec_count: 8,
        cold_start_count: 2,
        early_death_count: 3,
        last_spawn_at: Some(now(301).monotonic),
        last_spawned_on: Some(now(302).realtime),
        pace_used_until: now(303).monotonic,
        stopping: None,
        reexec: Some(Reexec {
            kind: UpgradeKind::Fleet,
            asked_at: Monotonic(0),
            stage: Stage::HandingOver,
            is_hand_back: false,
        }),
        rollout: Some(Rollout::resumed(RolloutKind::Smooth, Generation(6), now(301).monotonic)),
        waiters: busy_waiters(),
        reexecuted_at: Some(now(304).monotonic),
        upgrade_due_at: Some(now(305).monotonic),
        last_upgraded_on: Some(now(306).realtime),
        ..State::new(busy_config(), busy_listeners(), Pid(5_000), 12)
    };
    Handover {
        release: "0.1.0".into(),
        state,
        origin: busy_origin(),
        descriptors: busy_descriptors(),
        connections: busy_buffers(),
        next_connection: ConnectionId(70_004),
        helpers: vec![(Pid(5_801), "candidate".into()), (Pid(5_802), "renice".into())],
        files: vec![
            CarriedFile { path: "/run/shop/einhorn.sock".into(), device: 23, inode: 91_001 },
            CarriedFile { path: path(b"/run/shop/\xffapp.sock"), device: 24, inode: 91_002 },
        ],
        captured: Vec::new(),
        unlogged: Vec::new(),
    }
}

fn busy_config() -> Config {
    Config {
        original_command: words(&["bin/app", "--port", "srv:[::1]:9000,r,n", "two words"]),
        command: vec!["/srv/shop/bin/app".into(), "--port".into(), os(b"1004"), os(b"\xfe\\ \n")],
        target: 6,
        backlog: 511,
        respawn_interval: Duration::from_millis(2_500),
        ack_mode: AckMode::Manual,
        signal_timeout: Some(Duration::from_nanos(90_000_000_001)),
        max_unacked: Some(4),
        max_upgrade_additional: Some(3),
        retries: Some(11),
        kill_children_on_exit: true,
        command_socket_as_fd: true,
        command_name: Some("shöp".into()),
        socket_path: "/run/shop/einhorn.sock".into(),
        pidfile: "/run/shop/einhorn.pid".into(),
        lockfile: "/run/shop/einhorn.lock".into(),
        nice: Nice {
            master: Some(-5),
            worker: Some(10),
            renice_command: Some(vec!["sudo".into(), "renice".into()]),
        },
        reexec_as: words(&["/srv/shop/current/bin/upgrade", "--quiet"]),
        drop_env_vars: words(&["BUNDLE_GEMFILE", "RUBYOPT"]),
        verbosity: Verbosity::ERROR,
        syslog: true,
        capture_stderr: false,
        reexec_mode: ReexecMode::Exec,
        rollout: RolloutBounds::default(),
        chdir: None,
        env_file: None,
        metrics_file: None,
    }
}

fn busy_listeners() -> Vec<Listener> {
    let all = ListenerOptions { reuse_address: true, nonblocking: true, v6only: true };
    let listener = |address, origin, descriptor, family, port| Listener {
        bind: Bind { address, options: all.clone() },
        origin,
        descriptor,
        family,
        port,
    };
    let unix = Address::Unix {
        path: path(b"/run/shop/\xffapp.sock"),
        mode: Some(0o660),
        owner: Some("shop".into()),
        group: Some("www".into()),
    };
    let udp = Address::Udp { host: "0.0.0.0".into(), port: 5_353 };
    let tcp = Address::Tcp { host: "::1".into(), port: 0 };
    let (option, word) = (einhorn::state::Origin::Option, einhorn::state::Origin::Word);
    vec![
        listener(unix, option, 1_002, Family::Unix, None),
        listener(udp, option, 1_003, Family::Inet, Some(5_353)),
        listener(tcp, word, 1_004, Family::Inet6, Some(49_152)),
    ]
}

fn busy_workers() -> BTreeMap<Pid, Worker> {
    let plain = |slot, generation, at| Worker::new(Slot(slot), Generation(generation), now(at));
    let old = Worker {
        acked_at: Some(now(401).monotonic),
        signaled: BTreeSet::from([Signal::Usr2, Signal::Kill]),
        told_to_go_at: Some(now(402).monotonic),
        last_signaled_on: Some(now(403).realtime),
        ping: Some(Ping {
            at: now(404).realtime,
            request_id: Some(Scalar::Text("beat: 1".into())),
        }),
        connection: Some(ConnectionId(70_001)),
        ..plain(2, 6, 400)
    };
    let up = Worker { acked_at: Some(now(411).monotonic), ..plain(3, 7, 410) };
    BTreeMap::from([(Pid(5_001), old), (Pid(5_002), up), (Pid(5_003), plain(4, 7, 420))])
}

/// One for each kind of id.
fn busy_waiters() -> Vec<Waiter> {
    let ids = [
        Scalar::Bool(true),
        Scalar::Integer(i128::MIN),
        Scalar::Float(-0.5),
        Scalar::Text("größer\n%0A".into()),
    ];
    let waits = [WaitsFor::Reexec, WaitsFor::Rollout, WaitsFor::Upgrade].into_iter().cycle();
    let waiter = |(request_id, waits_for)| Waiter {
        connection: ConnectionId(70_002),
        request_id: Some(request_id),
        waits_for,
        wants_events: false,
    };
    ids.into_iter().zip(waits).map(waiter).collect()
}

fn busy_origin() -> Origin {
    Origin {
        own_path: "/srv/shop/current/bin/einhorn".into(),
        own_name: "bin/einhorn".into(),
        environment: vec![
            ("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into()),
            ("DATABASE_URL".into(), "postgres://shop:opensesame@db/shop".into()),
            (os(b"ODD\xff"), os(b"\xfe\n")),
        ],
        blocked_signals: 1 << 11 | 1 << 35,
        open_files_soft: 4_096,
        open_files_hard: 65_536,
        nice: -3,
    }
}

fn busy_descriptors() -> Vec<Carried> {
    let mut descriptors = vec![
        socket(Role::CommandSocket, 1_001, true),
        socket(Role::Listener(0), 1_002, true),
        socket(Role::Listener(1), 1_003, false),
        socket(Role::Listener(2), 1_004, true),
        file(Role::Lock, 1_005),
        file(Role::Pidfile, 1_006),
        file(Role::Stray, 1_007),
        file(Role::Stray, 1_008),
    ];
    for (id, number) in (70_001..=70_003).zip(1_011..) {
        descriptors.push(socket(Role::Connection(ConnectionId(id)), number, false));
    }
    for (pid, number) in (5_001..=5_003).zip(1_015..) {
        descriptors.push(file(Role::Worker(Pid(pid)), number));
    }
    descriptors
}

fn busy_buffers() -> Vec<CarriedConnection> {
    let buffer = |id, input: &[u8], output: &[u8]| CarriedConnection {
        id: ConnectionId(id),
        input: input.to_vec(),
        is_discarding: false,
        output: output.to_vec(),
        is_given: true,
        has_ended: false,
        is_closing: false,
    };
    let half = b"{\"command\":\"worker:ping\",\"pi";
    let reply = b"---%0A:message: \"Upgrading, as commanded\"%0A\n---%0A:mess";
    vec![
        buffer(70_001, half, b""),
        CarriedConnection { is_given: false, has_ended: true, ..buffer(70_002, b"", reply) },
        CarriedConnection {
            is_discarding: true,
            is_closing: true,
            ..buffer(70_003, b"\xff\x00\\", b"\x1b")
        },
    ]
}

/// An instant; the calendar ran on at another rate.
pub(super) fn now(seconds: u64) -> Now {
    let monotonic = Monotonic(86_400_000_000_000 + seconds * 1_000_000_001);
    let offset = i64::try_from(seconds).expect("a small number") * 1_000_000_003;
    Now { monotonic, realtime: Realtime(1_795_000_000_000_000_000 + offset) }
}

fn socket(role: Role, number: i32, is_listening: bool) -> Carried {
    let seed = u64::try_from(number).expect("a descriptor");
    let (inode, cookie) = (90_000 + seed, 30_000 + seed);
    let identity = Identity { device: 8, inode, file_type: 0o140_000, cookie, is_listening };
    Carried { role, number, identity }
}

fn file(role: Role, number: i32) -> Carried {
    let Carried { identity, .. } = socket(role, number, false);
    let identity = Identity { device: 9, file_type: 0o100_000, cookie: 0, ..identity };
    Carried { role, number, identity }
}

pub(super) fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

pub(super) fn os(bytes: &[u8]) -> OsString {
    OsStr::from_bytes(bytes).to_owned()
}

pub(super) fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(os(bytes))
}
