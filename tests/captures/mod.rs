//! What a Ruby Einhorn 1.1.1 handed to itself, as its bytes were captured, and for each the
//! hand-over of ours that says the same.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use einhorn::scalar::Scalar;
use einhorn::schema::{Carried, CarriedConnection, Handover, Identity, Origin, Role};
use einhorn::state::{
    AckMode, Address, Bind, Config, Connection, ConnectionId, Family, Generation, Listener,
    ListenerOptions, Monotonic, Nice, Now, Pid, Realtime, Reexec, Slot, Stage, State, UpgradeKind,
    Waiter, WaitsFor, Worker,
};

/// A capture, and what a master of ours hands over that is in the same state.
pub(crate) struct Capture {
    /// What was captured in it.
    pub(crate) name: &'static str,
    /// The original's bytes.
    pub(crate) document: &'static str,
    /// The same of ours.
    pub(crate) handover: Handover,
}

/// The calendar at the beginning of the monotonic clock: 2026-11-20 20:20:31.
const BEGINNING: i64 = 1_795_206_031_000_000_000;

/// A moment, by how many nanoseconds it is after the beginning.
pub(crate) fn at(nanos: u64) -> Now {
    let realtime = Realtime(BEGINNING + i64::try_from(nanos).unwrap());
    Now { monotonic: Monotonic(nanos), realtime }
}

/// All of them.
pub(crate) fn all() -> Vec<Capture> {
    vec![manual(), partial_line(), timer_pending(), upgrade_fleet(), upgrade_smooth(), arguments()]
}

/// A master with two workers that are up, started at these moments, and a helper.
fn handover(pids: [i32; 3], started: [u64; 2], port: u16) -> Handover {
    let [first, second, helper] = pids;
    let mut state = State::new(config(), vec![listener(port)], Pid(900), 4);
    state.cold_start_count = 0;
    for (slot, (pid, nanos)) in (0..).zip([(first, started[0]), (second, started[1])]) {
        let mut worker = Worker::new(Slot(slot), Generation(0), at(nanos));
        worker.acked_at = Some(Monotonic(nanos));
        state.workers.insert(Pid(pid), worker);
        state.last_spawned_on = Some(at(nanos).realtime);
    }
    let open = |role, number| Carried { role, number, identity: Identity::default() };
    let mut handover = Handover {
        release: "0.1.0".to_owned(),
        state,
        origin: origin(),
        descriptors: vec![
            open(Role::Listener(0), 7),
            open(Role::CommandSocket, 8),
            open(Role::Lock, 5),
        ],
        connections: Vec::new(),
        next_connection: ConnectionId(40),
        helpers: vec![(Pid(helper), "passing the state on".to_owned())],
        files: Vec::new(),
        worker_stderr: Vec::new(),
        unlogged: Vec::new(),
        senders: BTreeMap::new(),
    };
    connect(&mut handover, 9);
    handover
}

/// One more client, under this descriptor.
pub(crate) fn connect(handover: &mut Handover, number: i32) -> ConnectionId {
    let id = ConnectionId(20 + u64::try_from(number).unwrap());
    let identity = Identity::default();
    handover.descriptors.push(Carried { role: Role::Connection(id), number, identity });
    handover.connections.push(CarriedConnection {
        id,
        input: Vec::new(),
        is_discarding: false,
        output: Vec::new(),
        is_given: false,
        read_closed: false,
        is_closing: false,
    });
    handover.state.connections.insert(id, Connection::default());
    id
}

fn config() -> Config {
    Config {
        target: 2,
        backlog: 1024,
        ack_mode: AckMode::Manual,
        socket_path: PathBuf::from("/run/web/e.sock"),
        pidfile: PathBuf::from("/run/web/pid"),
        lockfile: PathBuf::from("/run/web/lock"),
        is_lockfile_named: true,
        reexec_as: vec![OsString::from("/srv/web/current/bin/reexec")],
        ..Config::new(vec![OsString::from("/srv/web/current/bin/worker")])
    }
}

fn listener(port: u16) -> Listener {
    let address = Address::Tcp { host: "127.0.0.1".to_owned(), port };
    let options = ListenerOptions { reuse_address: true, ..ListenerOptions::default() };
    Listener {
        bind: Bind { address, options },
        bound_by: einhorn::state::BoundBy::Option,
        descriptor: 7,
        family: Family::Inet,
        port: Some(port),
    }
}

fn origin() -> Origin {
    Origin {
        own_path: PathBuf::from("/usr/bin/einhorn"),
        own_name: "einhorn".into(),
        environment: Vec::new(),
        blocked_signals: 0,
        open_files_soft: 1024,
        open_files_hard: 4096,
        nice: 0,
    }
}

fn manual() -> Capture {
    let handover = handover([11994, 11995, 11996], [536_959_395, 537_601_653], 45271);
    Capture { name: "manual", document: include_str!("manual.yaml"), handover }
}

fn partial_line() -> Capture {
    let mut handover = handover([12004, 12005, 12006], [3_630_466_945, 3_631_140_360], 40619);
    handover.connections[0].input = br#"{"command":"ehl"#.to_vec();
    connect(&mut handover, 10);
    Capture { name: "partial-line", document: include_str!("partial-line.yaml"), handover }
}

fn timer_pending() -> Capture {
    let mut handover = handover([11999, 12000, 12001], [1_820_460_934, 1_821_420_716], 40941);
    handover.state.config.ack_mode = AckMode::Timer(Duration::from_secs(30));
    // The original's timers start a moment after what it notes as the start of a worker.
    let timers = [1_820_555_214, 1_821_443_580].map(Monotonic);
    for (worker, timer) in handover.state.workers.values_mut().zip(timers) {
        worker.acked_at = None;
        worker.spawned_at = timer;
    }
    Capture { name: "timer-pending", document: include_str!("timer-pending.yaml"), handover }
}

/// The client asks for an upgrade with the id 7.
fn ask_for(handover: &mut Handover, kind: UpgradeKind) {
    let stage = Stage::HandingOver;
    let asked_at = handover.state.workers.values().map(|w| w.spawned_at).max().unwrap_or_default();
    handover.state.reexec = Some(Reexec { kind, asked_at, stage, is_hand_back: true });
    handover.state.waiters = vec![Waiter {
        connection: handover.connections[0].id,
        request_id: Some(Scalar::Integer(7)),
        waits_for: WaitsFor::Upgrade,
        wants_events: false,
        until_drained: false,
        killed_count: 0,
    }];
}

fn upgrade_fleet() -> Capture {
    let mut handover = handover([12020, 12021, 12022], [16_312_854_281, 16_313_423_550], 58017);
    ask_for(&mut handover, UpgradeKind::Fleet);
    let config = &mut handover.state.config;
    config.respawn_interval = Duration::from_millis(500);
    config.max_unacked = Some(3);
    config.max_upgrade_additional = Some(2);
    config.kill_children_on_exit = true;
    config.command_socket_as_fd = true;
    config.signal_timeout = Some(Duration::from_secs(9));
    Capture { name: "upgrade-fleet", document: include_str!("upgrade-fleet.yaml"), handover }
}

fn upgrade_smooth() -> Capture {
    let mut handover = handover([12010, 12011, 12014], [5_021_710_884, 5_022_299_212], 36831);
    ask_for(&mut handover, UpgradeKind::Smooth);
    let config = &mut handover.state.config;
    config.command_name = Some("web".to_owned());
    config.nice = Nice { master: Some(1), worker: Some(2), renice_command: None };
    config.drop_env_vars = vec!["FOO".into()];
    Capture { name: "upgrade-smooth", document: include_str!("upgrade-smooth.yaml"), handover }
}

fn arguments() -> Capture {
    let mut handover = handover([12097, 12098, 12099], [39_508_586_731, 39_509_250_101], 54267);
    let config = &mut handover.state.config;
    for command in [&mut config.original_command, &mut config.command] {
        command.extend(["a b", "quo\"te", "%0A%25", "--flag=x:y"].map(OsString::from));
    }
    Capture { name: "worker-args", document: include_str!("worker-args.yaml"), handover }
}
