//! What is told of a state, from its first moment to its last.

use std::path::PathBuf;
use std::time::Duration;

use einhorn::decide::Event;
use einhorn::outcome::Outcome;
use einhorn::protocol::ProgressStage;
use einhorn::state::{
    AckMode, Address, Bind, BoundBy, Config, Deployment, EndedUpgrade, Failure, Family, Generation,
    Killed, Listener, ListenerOptions, Monotonic, Now, Pid, Realtime, Rollout, RolloutKind, Slot,
    UpgradeKind,
};
use einhorn::status::{
    Health, ListenerKind, Measurements, Queue, Status, Style, Unit, UpgradeCommand, WorkerState,
    json, metrics, report, table,
};

use crate::example::{MASTER, Master, config};
use crate::json_schema::breach;

const SCHEMA: &str = include_str!("../../../docs/status.schema.json");

/// What is told of a master now; whatever it is, its document is as the schema has it, and comes
/// back from its JSON.
fn told(master: &Master) -> Status {
    told_with(master, &Measurements::default())
}

fn told_with(master: &Master, measured: &Measurements) -> Status {
    let ms = i64::try_from(master.now_ms).unwrap();
    let now = Now {
        monotonic: Monotonic(master.now_ms * 1_000_000),
        realtime: Realtime(1_795_206_031_000_000_000 + ms * 1_000_000),
    };
    let status = report(&master.state, now, measured);
    let document = json(&status);
    assert_eq!(breach(SCHEMA, &document), None);
    assert_eq!(serde_json::from_str::<Status>(&document).unwrap(), status);
    assert!(!table(&status, Style::Plain).is_empty());
    assert!(metrics(&status).ends_with("# EOF\n"));
    status
}

fn states(status: &Status) -> Vec<(u32, WorkerState)> {
    status.workers.iter().map(|worker| (worker.slot, worker.state)).collect()
}

#[test]
fn all_is_well_once_all_are_up() {
    let mut master = Master::new(Config { command_name: Some("web".to_owned()), ..config(2) });
    let status = told(&master);
    assert_eq!(status.health, Health::Degraded);
    assert_eq!(status.reasons, ["0 of 2 workers are up"]);
    let orders = master.turn_at(0);
    master.start(&orders);
    let orders = master.turn_at(0);
    master.start(&orders);
    master.now_ms = 900;
    let status = told(&master);
    assert_eq!(states(&status), [(0, WorkerState::Starting), (1, WorkerState::Starting)]);
    assert_eq!((status.workers[0].age_ms, status.workers[0].time_to_ack_ms), (900, None));
    master.turn_at(1000);
    let status = told(&master);
    assert_eq!((status.health, status.master.acked, status.master.target), (Health::Ok, 2, 2));
    assert_eq!(status.reasons, [""; 0]);
    assert_eq!(states(&status), [(0, WorkerState::Up), (1, WorkerState::Up)]);
    assert_eq!(status.workers[1].time_to_ack_ms, Some(1000));
    assert_eq!(status.workers[1].started_on_ms, 1_795_206_031_000);
    assert_eq!(status.written_on_ms, 1_795_206_032_000);
    assert_eq!((status.in_progress, status.last_upgrade), (None, None));
    assert_eq!((status.master.pid, status.master.name.as_deref()), (900, Some("web")));
}

#[test]
fn what_the_kernel_says_is_told_and_what_it_does_not_say_is_null() {
    let mut master = Master::started(config(2));
    let tcp = Address::Tcp { host: "::1".to_owned(), port: 0 };
    let udp = Address::Udp { host: "10.0.0.1".to_owned(), port: 53 };
    let unix = Address::Unix { path: "/run/w".into(), mode: None, owner: None, group: None };
    let listener = |address, descriptor, port| Listener {
        bind: Bind { address, options: ListenerOptions::default() },
        bound_by: BoundBy::Option,
        descriptor,
        family: Family::Inet,
        port,
    };
    master.state.listeners =
        vec![listener(tcp, 6, Some(4001)), listener(udp, 7, Some(53)), listener(unix, 8, None)];
    let queue = |depth, limit, unit| Some(Queue { depth, limit, unit });
    let measured = Measurements {
        uptime: Some(Duration::from_millis(90_061_001)),
        memory: [(MASTER, 3_000_000), (Pid(1000), 70_000_000)].into(),
        queues: vec![queue(3, 100, Unit::Connections), queue(0, 9000, Unit::Bytes), None],
        is_release_gone: true,
    };
    let status = told_with(&master, &measured);
    assert_eq!(status.master.uptime_ms, Some(90_061_001));
    assert_eq!(status.master.memory_bytes, Some(3_000_000));
    let memory: Vec<_> = status.workers.iter().map(|worker| worker.memory_bytes).collect();
    assert_eq!(memory, [Some(70_000_000), None]);
    let gone =
        "the release of generation 0 is gone: new workers start in the current --chdir directory";
    assert_eq!(status.notes, [gone, "memory not measured for 1 of 2 workers"]);
    let listeners: Vec<_> =
        status.listeners.iter().map(|it| (it.address.as_str(), it.kind, it.queue)).collect();
    assert_eq!(
        listeners,
        [
            ("[::1]:4001", ListenerKind::Tcp, measured.queues[0]),
            ("udp:10.0.0.1:53", ListenerKind::Udp, measured.queues[1]),
            ("unix:/run/w", ListenerKind::Unix, None),
        ]
    );
}

#[test]
fn deaths_before_an_ack_are_a_reason_only_while_workers_are_missing() {
    let mut master = Master::started(Config { retries: Some(2), ..config(2) });
    master.turn_at(500);
    master.exit(1001);
    let status = told(&master);
    assert_eq!(status.reasons, ["0 of 2 workers are up", "consecutive deaths before an ACK: 1"]);
    assert_eq!(status.master.early_deaths, 1);
    master.turn_at(1000);
    master.state.early_death_count = 1;
    master.ask("{command: dec}");
    let status = told(&master);
    assert_eq!(status.health, Health::Ok, "{:?}", status.reasons);
    assert_eq!(status.notes[0], "consecutive deaths before an ACK: 1");
    master.ask("{command: inc}");
    master.state.early_death_count = 2;
    let why = "consecutive deaths before an ACK: 2; no more workers are started (--retries)";
    assert_eq!(told(&master).reasons, ["1 of 2 workers are up", why]);
}

#[test]
fn those_told_to_go_serve_no_more_and_have_a_deadline() {
    let timeout = Some(Duration::from_secs(30));
    let mut master = Master::started(Config { signal_timeout: timeout, ..config(2) });
    master.turn_at(1000);
    master.ask("{command: dec}");
    master.turn_at(2000);
    master.now_ms = 12_000;
    let status = told(&master);
    assert_eq!((status.health, status.master.acked), (Health::Ok, 1));
    assert_eq!(states(&status), [(0, WorkerState::Up), (1, WorkerState::Draining)]);
    let deadlines: Vec<_> = status.workers.iter().map(|worker| worker.deadline_ms).collect();
    assert_eq!(deadlines, [None, Some(20_000)]);
    master.now_ms = 33_000;
    assert_eq!(told(&master).workers[1].deadline_ms, Some(-1000));
    master.ask("{command: die}");
    let status = told(&master);
    assert_eq!(status.reasons, ["the master is going down", "0 of 1 workers are up"]);
    let now = status.in_progress.as_ref().unwrap();
    assert_eq!((now.stage, now.numbers.elapsed_ms), (ProgressStage::Stopping, 31_000));
}

/// Two old workers that serve, and the new generation of a smooth roll-out.
fn mid_upgrade() -> Master {
    let mut master = Master::started(Config { ack_mode: AckMode::Manual, ..config(2) });
    master.ack(&[1000, 1001]);
    master.now_ms = 5000;
    let began = Monotonic(4_000_000_000);
    let rollout = Rollout::new(RolloutKind::Smooth, Generation(0), began, began);
    master.state.rollout = Some(rollout);
    master.state.newest_generation = Generation(1);
    master.state.generation = Generation(1);
    master.state.ordered.insert(Slot(2), Generation(1));
    master.tell(Event::Spawned { slot: Slot(2), pid: Pid(999), connection: None, directory: None });
    master
}

#[test]
fn a_roll_out_is_told_by_its_stage_and_is_well_while_the_old_serve() {
    let mut master = mid_upgrade();
    let asked_at = Monotonic(3_000_000_000);
    master.state.rollout.as_mut().unwrap().asked_at = asked_at;
    let status = told(&master);
    assert_eq!((status.health, status.master.acked), (Health::Ok, 2));
    let now = status.in_progress.as_ref().unwrap();
    assert_eq!(now.stage, ProgressStage::Canary);
    assert_eq!((now.numbers.generation, now.numbers.acked, now.numbers.old_left), (1, 0, 2));
    assert_eq!(now.numbers.elapsed_ms, 2000);
    assert_eq!(states(&status)[2], (2, WorkerState::Canary));
    let rollout = master.state.rollout.as_mut().unwrap();
    rollout.stage = einhorn::state::RolloutStage::Replacing;
    rollout.failure_count = 3;
    let status = told(&master);
    let now = status.in_progress.as_ref().unwrap();
    assert_eq!((now.stage, now.numbers.failed), (ProgressStage::Rollout, 3));
    assert_eq!(states(&status)[2], (2, WorkerState::Starting));
    master.exit(1000);
    let status = told(&master);
    assert_eq!(status.reasons, ["1 of 2 workers are up"]);
}

#[test]
fn workers_in_another_release_than_their_generation_began_with_are_told() {
    let chdir = Some(PathBuf::from("/srv/web/current"));
    let mut master = Master::started(Config { chdir, ..config(2) });
    let began_in = |release: &str| Some(PathBuf::from(format!("/srv/web/releases/{release}")));
    let deployment = Deployment { directory: began_in("41"), environment: Vec::new() };
    master.state.deployments.insert(Generation(0), deployment);
    for worker in master.state.workers.values_mut() {
        worker.directory = began_in("41");
    }
    let is_told = |master: &Master| told(master).notes.iter().any(|note| note.contains("gone"));
    assert!(!is_told(&master));
    master.state.workers.get_mut(&Pid(1000)).unwrap().directory = began_in("42");
    let gone = "workers that run in another release because /srv/web/releases/41 is gone: 1";
    assert!(told(&master).notes.contains(&gone.to_owned()));
}

#[test]
fn a_failed_upgrade_is_told_until_the_next_one() {
    let mut master = mid_upgrade();
    master.state.rollout = None;
    master.state.generation = Generation(0);
    master.state.config.chdir = Some(PathBuf::from("/srv/web/current"));
    let worker = master.state.workers.get_mut(&Pid(999)).unwrap();
    worker.missed_ack_deadline = true;
    worker.directory = Some(PathBuf::from("/srv/web/releases/42"));
    let why = "Upgrade failed: 3 workers failed; generation 0 is still serving";
    master.state.last_upgrade = Some(EndedUpgrade {
        kind: UpgradeKind::Smooth,
        generation: Generation(1),
        directory: Some(PathBuf::from("/srv/web/releases/42")),
        outcome: Outcome::Failed,
        message: why.to_owned(),
        took: Duration::from_millis(1500),
        ended_on: Realtime(1_795_206_035_000_000_000),
        failures: vec![Failure {
            pid: None,
            slot: Slot(2),
            what: "could not be started".to_owned(),
            age: Duration::ZERO,
            last_words: Some("E: no such module\n\u{9b}2J".to_owned()),
        }],
        killed: Killed::default(),
        killed_later_count: 0,
    });
    let status = told(&master);
    assert_eq!(status.health, Health::Ok);
    assert_eq!(status.workers[2].state, WorkerState::AckOverdue);
    assert_eq!(status.workers[2].release.as_deref(), Some("/srv/web/releases/42"));
    let now = status.in_progress.as_ref().unwrap();
    assert_eq!((now.stage, now.numbers.elapsed_ms), (ProgressStage::Restoring, 2500));
    let last = status.last_upgrade.as_ref().unwrap();
    assert_eq!(
        (last.command, last.outcome, last.took_ms),
        (UpgradeCommand::Upgrade, Outcome::Failed, 1500)
    );
    let shown = table(&status, Style::Plain);
    let lines: Vec<&str> = shown.lines().take(7).collect();
    assert_eq!(lines[0], "ok");
    assert!(lines[1].starts_with("note: memory not measured"));
    let now =
        "in progress: restoring, generation 0: 2 of 2 ACKed, 1 old left, 0 failed, after 2.50s";
    assert_eq!(lines[2], now);
    assert_eq!(lines[3], format!("last upgrade, 1.00s ago: {why}"));
    assert_eq!(lines[4], "  slot 2: could not be started, 0.00s old");
    assert_eq!(lines[5..], ["    E: no such module", "    \\u{9b}2J"]);
    master.exit(1000);
    assert_eq!(told(&master).reasons, ["1 of 2 workers of generation 0 are up"]);
}

#[test]
fn the_schema_refuses_what_is_not_foreseen() {
    let document = json(&told(&Master::started(config(1))));
    for (from, to, why) in [
        (r#""notes":"#, r#""more":1,"notes":"#, "'more' was unexpected"),
        (r#""notes":["#, r#""note":["#, "'note' was unexpected"),
        (r#""in_progress":null,"#, "", "\"in_progress\" is a required property"),
        (r#""up""#, r#""away""#, "is not one of"),
        (r#""slot":0"#, r#""slot":-1"#, "less than the minimum"),
        (r#""slot":0"#, r#""slot":0.5"#, "is not of type"),
        (r#""version":1"#, r#""version":2"#, "1 was expected"),
        (r#""in_progress":null"#, r#""in_progress":{}"#, "is not valid under any of"),
    ] {
        let document = document.replace("starting", "up").replacen(from, to, 1);
        let found = breach(SCHEMA, &document).unwrap_or_else(|| panic!("{to} was accepted"));
        assert!(found.contains(why), "{to}: {found}");
    }
}
