//! Where a run begins: any configuration, before its first worker or in the middle of its life.

use std::time::Duration;

use einhorn::state::{
    AckMode, Config, Generation, Monotonic, Now, Realtime, Rollout, RolloutKind, Signal, Slot,
    State, Worker,
};

use super::ledger::{Entry, Ledger, Settings};
use super::pace::{self, Pace};
use super::random::Random;
use super::requests;
use super::world::World;
use crate::example::{MASTER, config};

/// A master, what must be expected of it, and the world around it.
pub(super) fn any(seed: u64) -> (State, Ledger, World) {
    let mut random = Random::new(seed);
    let config = any_config(&mut random);
    let processor_count = 1 + u32::try_from(random.below(8)).expect("a small number");
    let settings = Settings {
        target: config.target,
        interval: nanos(config.respawn_interval),
        ack_after: match config.ack_mode {
            AckMode::Manual => None,
            AckMode::Timer(after) => Some(nanos(after)),
        },
        signal_timeout: config.signal_timeout.map(nanos),
        max_unacked: config.max_unacked.unwrap_or(processor_count),
        max_additional: config.max_upgrade_additional,
        retries: config.retries,
        verbosity: config.verbosity.0,
        kill_children_on_exit: config.kill_children_on_exit,
    };
    let is_first = random.chance(70);
    let mut world = World::new(random, config.command_socket_as_fd);
    let mut ledger = Ledger {
        first_count: settings.target,
        settings,
        workers: Default::default(),
        ordered: Default::default(),
        connections: Default::default(),
        generation: 0,
        streak: 0,
        last_start_at: 0,
        has_started: !is_first,
        pace: Pace::new(0, world.now),
        upgrade: Default::default(),
        stop_code: None,
        seen: Default::default(),
    };
    let mut state = State::new(config, Vec::new(), MASTER, processor_count);
    if !is_first {
        midlife(&mut state, &mut ledger, &mut world);
    }
    (state, ledger, world)
}

fn any_config(random: &mut Random) -> Config {
    let small = |random: &mut Random| 1 + u32::try_from(random.below(6)).expect("a small number");
    let span = |nanos: u64| Duration::from_nanos(nanos);
    let target = match random.chance(30) {
        true => 17 + u32::try_from(random.below(40)).expect("a small number"),
        false => requests::target(random),
    };
    let mut config = config(target);
    config.respawn_interval = span(requests::interval(random).1);
    config.ack_mode = match random.chance(50) {
        true => AckMode::Manual,
        false => AckMode::Timer(span(random.one_of(requests::ACK_SPANS).1)),
    };
    config.signal_timeout = random.chance(50).then(|| span(requests::interval(random).1));
    config.max_unacked = random.chance(50).then(|| small(random));
    config.max_upgrade_additional = random.chance(40).then(|| small(random));
    config.retries = random.chance(15).then(|| 1 + small(random));
    config.kill_children_on_exit = random.chance(30);
    config.command_socket_as_fd = random.chance(50);
    config
}

/// As after a re-exec: workers of two generations live, in any condition, mostly in a roll-out; no
/// first start.
fn midlife(state: &mut State, ledger: &mut Ledger, world: &mut World) {
    let newest = 3;
    let began = world.now;
    world.now += 1000 * super::SECOND;
    state.generation = Generation(newest);
    state.reexec_count = 7;
    state.cold_start_count = 0;
    ledger.generation = newest;
    ledger.upgrade.reexec_count = 7;
    let rollout = world.random.one_of(&[None, Some(RolloutKind::Smooth), Some(RolloutKind::Fleet)]);
    state.newest_generation = state.generation;
    let from = Generation(newest - 1);
    state.rollout = rollout.map(|kind| Rollout::resumed(kind, from, Monotonic(world.now)));
    ledger.upgrade.rollout = rollout;
    ledger.first_count = 0;
    for slot in 0..u32::try_from(world.random.below(20)).expect("a small number") {
        let generation = newest - world.random.one_of(&[0, 0, 1]);
        // Without a roll-out no old one stays.
        let is_left = generation < newest && rollout.is_none();
        let told_at = (is_left || world.random.chance(20)).then_some(world.now);
        let entry = Entry {
            slot: slot * 2,
            generation,
            started_at: began + world.random.below(1000 * super::SECOND),
            acked: world.random.chance(60),
            told_at,
            signals: told_at.map(|_| Signal::Usr2).into_iter().collect(),
            ..Entry::default()
        };
        let started = Now { monotonic: Monotonic(entry.started_at), ..Now::default() };
        let mut worker = Worker::new(Slot(entry.slot), Generation(entry.generation), started);
        worker.acked_at = entry.acked.then_some(Monotonic(world.now));
        worker.signaled.clone_from(&entry.signals);
        worker.told_to_go_at = told_at.map(Monotonic);
        let pid = world.start(ledger);
        state.workers.insert(pid, worker);
        ledger.workers.insert(pid, entry);
    }
    ledger.streak = world.random.one_of(&[0, 0, 1, 2]);
    ledger.last_start_at = world.now;
    let level = world.random.below(pace::burst(ledger.settings.target) + 1);
    ledger.pace = Pace::new(level, world.now);
    state.early_death_count = ledger.streak;
    state.last_spawn_at = Some(Monotonic(world.now));
    state.last_spawned_on = Some(Realtime::default());
    state.pace_used_until = Monotonic(world.now + level);
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).expect("a span fits")
}
