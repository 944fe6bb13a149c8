//! A master of which every section says as much as can be.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use einhorn::outcome::Outcome;
use einhorn::scalar::Scalar;
use einhorn::schema::{
    Carried, CarriedConnection, CarriedFile, CarriedPipe, CarriedSender, Handover, Identity,
    Origin, Role,
};
use einhorn::state::{
    AckMode, Address, Bind, Config, Connection, ConnectionId, Delivery, Deployment, Disposition,
    EndedUpgrade, Failure, Family, Generation, Killed, Leftover, Listener, ListenerOptions,
    Monotonic, Nice, Now, Pid, Ping, Realtime, Reexec, ReexecMode, Rollout, RolloutBounds,
    RolloutKind, RolloutStage, Signal, Slot, Stage, State, StopProgress, StopSchedule, StopSignal,
    Suspended, Suspension, Unhandled, UpgradeKind, Verbosity, Waiter, WaitsFor, Worker,
};

/// Every field off its default, but those that exclude what is set.
pub(in super::super) fn busy() -> Handover {
    let connections = [
        (ConnectionId(70_001), Connection { given_to: Some(Pid(5_001)) }),
        (ConnectionId(70_002), Connection { given_to: None }),
        (ConnectionId(70_003), Connection { given_to: Some(Pid(5_999)) }),
    ];
    let state = State {
        processor_count: 12,
        workers: busy_workers(),
        leftovers: busy_leftovers(),
        ordered: BTreeMap::from([(Slot(5), Generation(6)), (Slot(9), Generation(7))]),
        connections: BTreeMap::from(connections),
        generation: Generation(7),
        newest_generation: Generation(9),
        reexec_count: 8,
        cold_start_count: 2,
        early_death_count: 3,
        last_spawn_at: Some(now(301).monotonic),
        last_spawned_on: Some(now(302).realtime),
        pace_used_until: now(303).monotonic,
        stopping: None,
        reexec: Some(Reexec {
            kind: UpgradeKind::Fleet,
            asked_at: now(310).monotonic,
            stage: Stage::HandingOver,
            is_hand_back: false,
        }),
        rollout: Some(busy_rollout()),
        last_upgrade: Some(EndedUpgrade {
            directory: Some(path(b"/srv/shop/releases/\xff8")),
            killed: killed("node", Signal::Usr2, [3, 4]),
            killed_later_count: 5,
            ..ended(UpgradeKind::Fleet, Outcome::TimedOut)
        }),
        deployments: BTreeMap::from([
            (Generation(6), deployment(6)),
            (Generation(7), deployment(7)),
        ]),
        next_deployment: Some(deployment(10)),
        slot_deaths: BTreeMap::from([(Slot(2), 5), (Slot(300), 1)]),
        warned_generation: Some(Generation(8)),
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
        worker_stderr: vec![
            pipe(5_002, 1_031, b"starting\nlistening on \xff, worker", 6),
            // Of a worker that had the pid before; what it has started speaks on.
            CarriedPipe { is_orphan: true, ..pipe(5_002, 1_032, b"\x1b[1m", 0) },
        ],
        unlogged: b"the rest of a line\n[MASTER 5000] ERROR: \xfe\n".to_vec(),
        senders: busy_senders(),
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
        stop: Some(StopSchedule::parse("QUIT/60/TERM/5.5/KILL").unwrap()),
        max_unacked: Some(4),
        max_upgrade_additional: Some(3),
        retries: Some(11),
        kill_children_on_exit: true,
        command_socket_as_fd: true,
        command_name: Some("shöp".into()),
        socket_path: "/run/shop/einhorn.sock".into(),
        pidfile: "/run/shop/einhorn.pid".into(),
        lockfile: "/run/shop/einhorn.lock".into(),
        is_lockfile_named: true,
        nice: Nice {
            master: Some(-5),
            worker: Some(10),
            renice_command: Some(vec!["sudo".into(), "renice".into()]),
        },
        reexec_as: words(&["/srv/shop/current/bin/upgrade", "--quiet"]),
        drop_env_vars: words(&["BUNDLE_GEMFILE", "RUBYOPT"]),
        verbosity: Verbosity::ERROR,
        syslog: true,
        capture_stderr: true,
        reexec_mode: ReexecMode::Pinned,
        rollout: busy_bounds(),
        chdir: Some("/srv/shop/current".into()),
        env_file: Some(path(b"/etc/shop/\xffenv")),
        metrics_file: Some("/run/shop/einhorn.prom".into()),
    }
}

pub(super) fn busy_bounds() -> RolloutBounds {
    RolloutBounds {
        ack_timeout: Some(Duration::from_millis(45_500)),
        upgrade_timeout: Some(Duration::from_secs(1_800)),
        failures_max: Some(13),
        canary: Duration::from_secs(33),
        on_canary: vec!["/srv/shop/bin/look".into(), os(b"\xfd\n")],
        on_canary_timeout: Duration::from_nanos(12_000_000_001),
    }
}

fn busy_listeners() -> Vec<Listener> {
    let all = ListenerOptions { reuse_address: true, nonblocking: true, v6only: true };
    let listener = |address, bound_by, descriptor, family, port| Listener {
        bind: Bind { address, options: all.clone() },
        bound_by,
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
    let (option, word) = (einhorn::state::BoundBy::Option, einhorn::state::BoundBy::Word);
    vec![
        listener(unix, option, 1_002, Family::Unix, None),
        listener(udp, option, 1_003, Family::Inet, Some(5_353)),
        listener(tcp, word, 1_004, Family::Inet6, Some(49_152)),
    ]
}

fn busy_workers() -> BTreeMap<Pid, Worker> {
    let by_pid = |(pid, worker)| (Pid(pid), worker);
    let old = Worker {
        acked_at: Some(now(401).monotonic),
        signaled: BTreeSet::from([Signal::Usr2, Signal::Kill]),
        stop_requested_at: Some(now(402).monotonic),
        stop_progress: Some(StopProgress { step: 1, since: now(407).monotonic }),
        last_signaled_on: Some(now(403).realtime),
        ping: Some(Ping {
            at: now(404).realtime,
            request_id: Some(Scalar::Text("beat: 1".into())),
        }),
        connection: Some(ConnectionId(70_001)),
        directory: Some("/srv/shop/releases/6".into()),
        missed_ack_deadline: true,
        suspension: Suspension {
            current: Some(Suspended { signal: Signal::Tstp, since: now(408).monotonic }),
            total: Duration::from_millis(1_250),
            continued_at: Some(now(409).monotonic),
        },
        stop_signal: Some(StopSignal {
            signal: Signal::Usr2,
            disposition: None,
            delivery: Delivery::Failed {
                since: now(412).monotonic,
                tried_at: now(413).monotonic,
                why: "Operation not permitted".into(),
            },
        }),
        program: Some("shöp-old".into()),
        disposition: Some(Disposition::Default),
        ..plain(2, 6, 400)
    };
    let up = Worker {
        acked_at: Some(now(411).monotonic),
        program: Some("shop".into()),
        disposition: Some(Disposition::Caught),
        ..plain(3, 7, 410)
    };
    let new = Worker { disposition: Some(Disposition::Blocked), ..plain(4, 7, 420) };
    let failed = Worker { disposition: Some(Disposition::Ignored), ..plain(6, 9, 430) };
    BTreeMap::from([(5_001, old), (5_002, up), (5_003, new), (5_004, failed)].map(by_pid))
}

/// What gets the rest of a schedule, and what is only named.
fn busy_leftovers() -> BTreeMap<Pid, Leftover> {
    let stopped = Worker {
        acked_at: Some(now(441).monotonic),
        signaled: BTreeSet::from([Signal::Quit, Signal::Term]),
        stop_requested_at: Some(now(442).monotonic),
        stop_progress: Some(StopProgress { step: 1, since: now(443).monotonic }),
        stop_signal: Some(StopSignal {
            signal: Signal::Term,
            disposition: Some(Disposition::Caught),
            delivery: Delivery::Sent,
        }),
        last_signaled_on: Some(now(444).realtime),
        ..plain(1, 6, 440)
    };
    let (worker, program, look_at) = (stopped, Some("sleep".into()), now(445).monotonic);
    let stopped = Leftover { worker, count: 14, program, look_at };
    let (worker, look_at) = (plain(3, 9, 450), now(451).monotonic);
    let named = Leftover { worker, count: 15, program: None, look_at };
    BTreeMap::from([(Pid(5_201), stopped), (Pid(5_202), named)])
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
        until_drained: false,
        killed_count: 0,
    };
    let mut waiters: Vec<Waiter> = ids.into_iter().zip(waits).map(waiter).collect();
    waiters.push(Waiter { waits_for: WaitsFor::Exit, ..waiters[0].clone() });
    waiters.push(Waiter {
        waits_for: WaitsFor::Drained { before: Generation(7) },
        until_drained: true,
        killed_count: 16,
        ..waiters[1].clone()
    });
    waiters[3].waits_for = WaitsFor::Settled;
    waiters[3].wants_events = true;
    waiters
}

fn busy_rollout() -> Rollout {
    let (asked_at, began_at) = (now(290).monotonic, now(295).monotonic);
    Rollout {
        stage: RolloutStage::Replacing,
        failure_count: 11,
        failures: failures(),
        killed: killed("python3", Signal::Int, [7, 8]),
        ..Rollout::new(RolloutKind::Smooth, Generation(6), asked_at, began_at)
    }
}

/// One that could not be started, and one that died.
pub(super) fn failures() -> Vec<Failure> {
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

/// How many had no handler, and how many were there at the end of the schedule.
pub(super) fn killed(program: &str, signal: Signal, counts: [u32; 2]) -> Killed {
    let [unhandled_count, overdue_count] = counts;
    let first_unhandled = Some(Unhandled { program: Some(program.into()), signal });
    Killed { unhandled_count, first_unhandled, overdue_count }
}

pub(super) fn ended(kind: UpgradeKind, outcome: Outcome) -> EndedUpgrade {
    EndedUpgrade {
        kind,
        generation: Generation(1),
        directory: None,
        outcome,
        message: "Upgrade failed: größer\n".into(),
        took: Duration::from_nanos(61_000_000_003),
        ended_on: now(333).realtime,
        failures: failures(),
        killed: Killed::default(),
        killed_later_count: 0,
    }
}

pub(super) fn deployment(number: u32) -> Deployment {
    let (name, directory) = (format!("TOKEN_{number}"), format!("/srv/shop/releases/{number}"));
    Deployment {
        directory: Some(directory.into()),
        environment: vec![(name.into(), "opensesame".into()), (os(b"ODD\xfe"), os(b"=\xff"))],
    }
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
        file(Role::SocketLock, 1_009),
        file(Role::Pidfile, 1_006),
        file(Role::Inherited, 1_007),
        file(Role::Inherited, 1_008),
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
        read_closed: false,
        is_closing: false,
    };
    let half = b"{\"command\":\"worker:ping\",\"pi";
    let reply = b"---%0A:message: \"Upgrading, as commanded\"%0A\n---%0A:mess";
    vec![
        buffer(70_001, half, b""),
        CarriedConnection { is_given: false, read_closed: true, ..buffer(70_002, b"", reply) },
        CarriedConnection {
            is_discarding: true,
            is_closing: true,
            ..buffer(70_003, b"\xff\x00\\", b"\x1b")
        },
    ]
}

/// Of the half ping: a worker's child, a process that nobody can see, root.
fn busy_senders() -> BTreeMap<ConnectionId, Vec<CarriedSender>> {
    let run = |length, pid, uid| CarriedSender { length, pid, uid };
    let runs = vec![run(11, 5_101, 1_001), run(16, 0, 65_534), run(1, 5_102, 0)];
    BTreeMap::from([(ConnectionId(70_001), runs)])
}

pub(super) fn pipe(pid: i32, number: i32, kept: &[u8], unsent: u32) -> CarriedPipe {
    let inode = 90_000 + u64::try_from(number).expect("a descriptor");
    let identity = Identity { device: 14, inode, file_type: 0o010_000, ..Identity::default() };
    let (pid, kept) = (Pid(pid), kept.to_vec());
    CarriedPipe { pid, is_orphan: false, number, identity, kept, unsent }
}

pub(super) fn plain(slot: u32, generation: u32, at: u64) -> Worker {
    Worker::new(Slot(slot), Generation(generation), now(at))
}

/// An instant; the calendar ran on at another rate.
pub(super) fn now(seconds: u64) -> Now {
    let monotonic = Monotonic(86_400_000_000_000 + seconds * 1_000_000_001);
    let offset = i64::try_from(seconds).expect("a small number") * 1_000_000_003;
    Now { monotonic, realtime: Realtime(1_795_000_000_000_000_000 + offset) }
}

pub(super) fn socket(role: Role, number: i32, is_listening: bool) -> Carried {
    let seed = u64::try_from(number).expect("a descriptor");
    let (inode, cookie) = (90_000 + seed, 30_000 + seed);
    let identity = Identity { device: 8, inode, file_type: 0o140_000, cookie, is_listening };
    Carried { role, number, identity }
}

pub(super) fn file(role: Role, number: i32) -> Carried {
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
