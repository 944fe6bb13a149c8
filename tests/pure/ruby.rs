//! What a Ruby master hands over, as one of ours understands it.

mod clamped;
mod refused;

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use einhorn::ruby::{Original, Parentage, Takeover};
use einhorn::scalar::Scalar;
use einhorn::schema::{self, Identity, Role};
use einhorn::state::{
    AckMode, Address, ConnectionId, Family, Generation, Monotonic, Now, Pid, Realtime, Reexec,
    RolloutKind, Signal, Slot, Stage, State, UpgradeKind, Waiter, WaitsFor,
};

use crate::corpus::ruby_state::facts;

/// Ten minutes after the machine was started.
const NOW_NS: u64 = 600_000_000_000;

/// The captures of the original, each a hand-over.
const CAPTURES: [&str; 6] =
    ["manual", "partial-line", "timer-pending", "upgrade-fleet", "upgrade-smooth", "worker-args"];

fn capture(name: &str) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/captures");
    fs::read_to_string(format!("{folder}/{name}.yaml")).unwrap()
}

/// The instant of a capture's last spawn, and so much later.
fn later(state: &Original, seconds: u64) -> Now {
    let spawned = state.clone().take_over(&facts(state, Now::default())).unwrap();
    let on = spawned.handover.state.last_spawned_on.unwrap_or(Realtime(0));
    let nanos = i64::try_from(seconds).unwrap() * 1_000_000_000;
    Now { monotonic: Monotonic(NOW_NS), realtime: Realtime(on.0 + nanos) }
}

/// Takes a state over, ten seconds after its last spawn.
fn taken(document: &str) -> Takeover {
    let original = Original::read(document.as_bytes()).unwrap();
    original.take_over(&facts(&original, later(&original, 10))).unwrap()
}

fn state(document: &str) -> State {
    let Takeover { handover, .. } = taken(document);
    // As one of ours it can be handed on.
    let bytes = schema::encode(&handover, None, None).unwrap();
    assert_eq!(schema::decode(&bytes).unwrap().handover, handover);
    handover.state
}

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

#[test]
fn what_is_the_same_in_every_capture() {
    for name in CAPTURES {
        let Takeover { handover, notes } = taken(&capture(name));
        assert_eq!(notes, [""; 0], "{name}");
        let state = &handover.state;
        assert_eq!(state.check(), Ok(()), "{name}");
        assert_eq!(state.config.target, 2);
        assert_eq!(state.config.backlog, 1024);
        assert_eq!(state.config.reexec_as, words(&["/srv/web/current/bin/reexec"]));
        assert_eq!(state.config.socket_path, PathBuf::from("/run/web/e.sock"));
        assert_eq!(state.config.pidfile, PathBuf::from("/run/web/pid"));
        assert_eq!(state.config.lockfile, PathBuf::from("/run/web/lock"));
        assert_eq!(state.config.nice.renice_command, None, "that is the original's default");
        assert_eq!((state.generation, state.reexec_count), (Generation(0), 0));
        assert_eq!(state.listeners.len(), 1);
        let listener = &state.listeners[0];
        assert_eq!((listener.descriptor, listener.family), (7, Family::Inet));
        assert!(listener.bind.options.reuse_address && !listener.bind.options.nonblocking);
        let Address::Tcp { host, port } = &listener.bind.address else { panic!("{listener:?}") };
        assert_eq!((host.as_str(), Some(*port)), ("127.0.0.1", listener.port));
        assert_eq!(state.workers.len(), 2);
        for ((index, worker), before) in (0..).zip(state.workers.values()).zip([10.0006, 10.0]) {
            assert_eq!((worker.slot, worker.generation), (Slot(index), Generation(0)));
            assert!(!worker.is_stopping() && worker.ping.is_none());
            let age = Monotonic(NOW_NS).since(worker.spawned_at).as_secs_f64();
            assert!((age - before).abs() < 0.001, "{name}: {age}");
        }
        assert_eq!(handover.helpers.len(), 1, "{name}: the process that passes the state");
        let roles: Vec<Role> = handover.descriptors.iter().map(|carried| carried.role).collect();
        assert_eq!(roles[..2], [Role::CommandSocket, Role::Listener(0)], "{name}");
    }
}

/// The step that is under way, asked for at no time: the original does not note it.
fn untimed(state: &State) -> Option<Reexec> {
    state.reexec.map(|reexec| Reexec { asked_at: Monotonic(0), ..reexec })
}

#[test]
fn manual_acks_go_on() {
    let state = state(&capture("manual"));
    assert_eq!(state.config.ack_mode, AckMode::Manual);
    assert!(state.workers.values().all(|worker| worker.is_acked()));
    let reexec = Reexec {
        kind: UpgradeKind::Reload,
        asked_at: Monotonic(0),
        stage: Stage::HandingOver,
        is_hand_back: false,
    };
    assert_eq!((untimed(&state), &state.rollout), (Some(reexec), &None));
    assert_eq!(state.waiters, []);
}

#[test]
fn half_a_line_waits_for_its_other_half() {
    let handover = taken(&capture("partial-line")).handover;
    let inputs: Vec<&[u8]> = handover.connections.iter().map(|c| c.input.as_slice()).collect();
    assert_eq!(inputs, [b"{\"command\":\"ehl".as_slice(), b""]);
    let numbers = handover.descriptors.iter().filter(|d| matches!(d.role, Role::Connection(_)));
    let numbers: Vec<(Role, i32)> = numbers.map(|d| (d.role, d.number)).collect();
    let role = |id| Role::Connection(ConnectionId(id));
    assert_eq!(numbers, [(role(16), 9), (role(17), 10)]);
    assert_eq!(handover.next_connection, ConnectionId(18));
}

#[test]
fn ack_timers_ring_when_they_would_have() {
    let state = state(&capture("timer-pending"));
    let mode = state.config.ack_mode;
    assert_eq!(mode, AckMode::Timer(Duration::from_secs(30)));
    for worker in state.workers.values() {
        let due = worker.ack_due_at(mode).unwrap();
        let left = due.since(Monotonic(NOW_NS)).as_secs_f64();
        assert!((left - 20.0).abs() < 0.01, "{left}");
    }
    // The mode was changed after they were set.
    let changed = capture("timer-pending").replace(":timeout: 30.0", ":timeout: 5");
    let state = self::state(&changed);
    for worker in state.workers.values() {
        let due = worker.ack_due_at(state.config.ack_mode).unwrap();
        let left = due.since(Monotonic(NOW_NS)).as_secs_f64();
        assert!((left - 20.0).abs() < 0.01, "{left}");
    }
}

#[test]
fn an_upgrade_that_was_asked_for_is_done_and_told() {
    let fleet = state(&capture("upgrade-fleet"));
    let smooth = state(&capture("upgrade-smooth"));
    for (state, kind) in [(&fleet, UpgradeKind::Fleet), (&smooth, UpgradeKind::Smooth)] {
        assert_eq!(
            untimed(state),
            Some(Reexec {
                kind,
                asked_at: Monotonic(0),
                stage: Stage::HandingOver,
                is_hand_back: false
            })
        );
        let waiter = Waiter {
            connection: ConnectionId(16),
            request_id: Some(Scalar::Integer(7)),
            waits_for: WaitsFor::Upgrade,
            wants_events: false,
            until_drained: false,
            killed_count: 0,
        };
        assert_eq!(state.waiters, [waiter]);
    }
    let config = &fleet.config;
    assert!(config.kill_children_on_exit && config.command_socket_as_fd);
    assert_eq!(config.respawn_interval, Duration::from_millis(500));
    assert_eq!((config.max_unacked, config.max_upgrade_additional), (Some(3), Some(2)));
    assert_eq!(config.signal_timeout, Some(Duration::from_secs(9)));
    let config = &smooth.config;
    assert_eq!(config.command_name.as_deref(), Some("web"));
    assert_eq!((config.nice.master, config.nice.worker), (Some(1), Some(2)));
    assert_eq!(config.drop_env_vars, words(&["FOO"]));
}

#[test]
fn arguments_are_kept_as_they_are() {
    let config = state(&capture("worker-args")).config;
    let program = "/srv/web/current/bin/worker";
    let expected = words(&[program, "a b", "quo\"te", "%0A%25", "--flag=x:y"]);
    assert_eq!((&config.command, &config.original_command), (&expected, &expected));
}

/// A master in the middle of everything, every field off its default.
const BUSY: &str = "---
:state:
  :children:
    41:
      :type: :worker
      :version: 2
      :acked: true
      :signaled: !ruby/object:Set
        hash:
          USR2: true
          KILL: true
      :last_signaled_at: 2026-11-20 20:20:40.000000000 Z
      :index: 1
      :spinup_time: 2026-11-20 21:20:30.000000000 +01:00
      :pinged_at: 2026-11-20 20:20:35.000000000 +00:00
      :pinged_request_id: '7'
    40:
      :type: :worker
      :version: 3
      :acked: false
      :signaled: !ruby/set {}
      :index: 0
      :spinup_time: &1 2026-11-20 20:20:44.000000000 +00:00
    42:
      :type: :state_passer
  :config: {:number: 5, :backlog: 7, :seconds: 0.25, :max_unacked: 2}
  :versions: {}
  :version: 3
  :sockets:
    ? - 127.0.0.1
      - '2345'
    : 9
  :orig_cmd: &2
  - run
  - !binary |-
    /w==
  :bind:
  - - 127.0.0.1
    - 0
    - - so_reuseaddr
      - n
  - - \"/run/web/http.sock\"
    - []
  :bind_fds: [7, 11]
  :bound_ports: [45271]
  :cmd: *2
  :respawn: true
  :upgrading: true
  :smooth_upgrade: true
  :reloading_for_upgrade: false
  :path: \"/srv/web/preload.rb\"
  :cmd_name: web
  :verbosity: 0
  :generation: 9
  :last_spinup: *1
  :ack_mode: {:type: :timer, :timeout: 2}
  :socket_path: e.sock
  :consecutive_deaths_before_ack: 4
  :last_upgraded: 2026-11-20 20:20:43.000000000 +00:00
  :nice: {:master: -3, :worker: 4, :renice_cmd: sudo renice}
  :signal_timeout: 20
  :shiny: new
:plugins: {}
:persistent_descriptors:
- :class: Einhorn::Event::CommandServer
  :server: 8
- :class: Einhorn::Event::Connection
  :socket: 12
  :write_buffer: |
    --- owed
  :subscriptions:
    :upgrade: !ruby/object:Object x
    reload: 8
    :other: 9
- :class: Einhorn::Event::Novelty
  :fd: 20
";

#[test]
fn every_field_is_honoured() {
    let original = Original::read(BUSY.as_bytes()).unwrap();
    let now = Now {
        monotonic: Monotonic(NOW_NS),
        realtime: Realtime(1_795_206_045_000_000_000), // 20:20:45
    };
    let mut facts = facts(&original, now);
    facts.found.get_mut(&11).unwrap().socket.as_mut().unwrap().family = Some(Family::Unix);
    facts.inherited_fds = vec![(30, Identity::default())];
    let Takeover { handover, notes } = original.take_over(&facts).unwrap();
    let state = &handover.state;
    assert_eq!(state.check(), Ok(()));
    let config = &state.config;
    assert_eq!((config.target, config.backlog, config.max_unacked), (5, 7, Some(2)));
    assert_eq!(config.respawn_interval, Duration::from_millis(250));
    assert_eq!(config.ack_mode, AckMode::Timer(Duration::from_secs(2)));
    assert_eq!(config.signal_timeout, Some(Duration::from_secs(20)));
    assert_eq!(config.verbosity.0, 0);
    assert_eq!((config.nice.master, config.nice.worker), (Some(-3), Some(4)));
    let renice = config.nice.renice_command.clone().unwrap();
    assert_eq!(renice, ["sudo", "renice"]);
    assert_eq!(config.command, config.original_command);
    assert_eq!(config.command[1].as_encoded_bytes(), [0xff]);
    // Relative paths are from where the master was started; `-d` moves nothing but the socket.
    assert_eq!(config.socket_path, PathBuf::from("/srv/e.sock"));
    assert_eq!(config.pidfile, PathBuf::from("/var/tmp/einhorn-web.pid"));
    assert_eq!(config.lockfile, PathBuf::from("/var/tmp/einhorn-web.lock"));
    assert_eq!((state.generation, state.reexec_count), (Generation(3), 8));
    assert_eq!(state.early_death_count, 4);
    assert_eq!(state.rollout.as_ref().map(|rollout| rollout.kind), Some(RolloutKind::Smooth));
    assert_eq!(state.last_spawn_at, Some(Monotonic(NOW_NS - 1_000_000_000)));
    assert_eq!(state.last_upgraded_on, Some(Realtime(1_795_206_043_000_000_000)));

    let old = &state.workers[&Pid(41)];
    assert_eq!((old.slot, old.generation), (Slot(1), Generation(2)));
    assert!(old.is_acked());
    assert_eq!(old.signaled, [Signal::Kill, Signal::Usr2].into());
    assert_eq!(old.stop_requested_at, Some(Monotonic(NOW_NS - 5_000_000_000)));
    assert_eq!(old.spawned_at, Monotonic(NOW_NS - 15_000_000_000));
    let ping = old.ping.as_ref().unwrap();
    assert_eq!(ping.request_id, Some(Scalar::Text("7".to_owned())));
    let new = &state.workers[&Pid(40)];
    assert!(!new.is_acked() && !new.is_stopping());

    let descriptors: Vec<i32> = state.listeners.iter().map(|l| l.descriptor).collect();
    assert_eq!(descriptors, [7, 11, 9], "those of -b first");
    assert_eq!(state.listeners[1].family, Family::Unix);
    let waiting: Vec<(&Scalar, WaitsFor)> = state
        .waiters
        .iter()
        .map(|waiter| (waiter.request_id.as_ref().unwrap(), waiter.waits_for))
        .collect();
    let (x, eight) = (Scalar::Text("x".to_owned()), Scalar::Integer(8));
    assert_eq!(waiting, [(&x, WaitsFor::Rollout), (&eight, WaitsFor::Reexec)]);
    assert_eq!(handover.connections[0].output, b"--- owed\n");
    assert_eq!(handover.descriptors.last().unwrap().role, Role::Inherited);
    assert_eq!(handover.helpers, [(Pid(42), "handing over".to_owned())]);

    let notes = notes.join("\n");
    for told in ["preload.rb", ":plugins:", ":shiny:", "Novelty", "\"other\""] {
        assert!(notes.contains(told), "{told}: {notes}");
    }
}

/// Release 0.8 knew fewer keys, and one by another name.
const OLDER: &str = "---
:state:
  :children:
    40:
      :type: :worker
      :version: 1
      :acked: true
      :signaled: !ruby/object:Set
        hash:
          USR2: true
    41: {:type: :worker, :version: 1, :acked: false, :signaled: !ruby/object:Set {hash: {}}}
  :config: {:number: 2, :backlog: 100, :seconds: 1}
  :version: 1
  :bind: [[127.0.0.1, 1234, []]]
  :bind_fds: [6]
  :cmd: [/bin/sleep, '5']
  :smooth_upgrade: false
  :reloading_for_preload_upgrade: true
  :generation: 1
  :ack_mode: {:type: :timer, :timeout: 1}
  :nice: {:master: , :worker: , :renice_cmd: /usr/bin/renice}
:persistent_descriptors:
- {:class: Einhorn::Event::CommandServer, :server: 5}
- {:class: Einhorn::Event::ACKTimer, :time: 1, :start: 2026-11-20 20:20:44.5 Z, :pid: 41}
";

#[test]
fn what_older_releases_do_not_say_is_found() {
    let original = Original::read(OLDER.as_bytes()).unwrap();
    let now = Now {
        monotonic: Monotonic(NOW_NS),
        realtime: Realtime(1_795_206_045_000_000_000), // 20:20:45
    };
    let Takeover { handover, notes } = original.take_over(&facts(&original, now)).unwrap();
    let state = &handover.state;
    assert_eq!(state.check(), Ok(()));
    let reexec = Reexec {
        kind: UpgradeKind::Fleet,
        asked_at: Monotonic(0),
        stage: Stage::HandingOver,
        is_hand_back: false,
    };
    assert_eq!(untimed(state), Some(reexec));
    assert_eq!(state.config.socket_path, PathBuf::from("/run/web/bound.sock"));
    assert_eq!(state.config.pidfile, PathBuf::from("/run/web/einhorn.pid"));
    let slots: Vec<Slot> = state.workers.values().map(|worker| worker.slot).collect();
    assert_eq!(slots, [Slot(0), Slot(1)]);
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert_eq!(state.workers[&Pid(40)].stop_requested_at, Some(Monotonic(NOW_NS)));
    let due = state.workers[&Pid(41)].ack_due_at(state.config.ack_mode).unwrap();
    assert_eq!(due, Monotonic(NOW_NS + 500_000_000));
}

#[test]
fn connections_that_workers_were_given_stay_theirs() {
    let document = capture("upgrade-fleet");
    let original = Original::read(document.as_bytes()).unwrap();
    let mut facts = facts(&original, later(&original, 1));
    facts.found.get_mut(&9).unwrap().socket.as_mut().unwrap().peer = Some(12021);
    let handover = original.take_over(&facts).unwrap().handover;
    assert_eq!(handover.state.workers[&Pid(12021)].connection, Some(ConnectionId(16)));
    assert!(handover.connections[0].is_given);
    assert_eq!(handover.state.check(), Ok(()));
    // Of one that a master of ours has made before the Ruby master, nobody knows for whom.
    let master = facts.master_pid.0;
    let socket = facts.found.get_mut(&9).unwrap().socket.as_mut().unwrap();
    (socket.peer, socket.path) = (Some(master), None);
    let handover = original.take_over(&facts).unwrap().handover;
    assert!(handover.connections[0].is_given);
    assert_eq!(handover.state.connections[&ConnectionId(16)].given_to, None);
    assert_eq!(handover.state.check(), Ok(()));
}

#[test]
fn a_worker_that_somebody_has_reaped_counts_as_ended() {
    let original = Original::read(capture("manual").as_bytes()).unwrap();
    let mut facts = facts(&original, later(&original, 1));
    facts.parentage.insert(11994, Parentage::Gone);
    assert!(original.take_over(&facts).unwrap().notes.is_empty());
    facts.parentage.insert(11994, Parentage::Foreign);
    let notes = original.take_over(&facts).unwrap().notes;
    assert!(notes[0].contains("11994"), "{notes:?}");
}
