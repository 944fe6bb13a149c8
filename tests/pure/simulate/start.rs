//! Where a run begins: any configuration, before its first worker or in the middle of its life.

use std::time::Duration;

use einhorn::state::{
    AckMode, Config, Generation, Monotonic, Now, Realtime, RolloutKind, RolloutStage, Signal, Slot,
    State, Worker,
};

use super::ledger::{Entry, Ledger};
use super::pace::{self, Pace};
use super::random::Random;
use super::requests;
use super::rollout::Rollout;
use super::settings::Settings;
use super::world::{Mood, World};
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
        ack_timeout: config.rollout.ack_timeout.map(nanos),
        upgrade_timeout: config.rollout.upgrade_timeout.map(nanos),
        failures_max: config.rollout.failures_max,
        canary: nanos(config.rollout.canary),
        has_check: !config.rollout.on_canary.is_empty(),
        check_timeout: nanos(config.rollout.on_canary_timeout),
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
        newest: 0,
        streak: 0,
        last_start_at: None,
        slot_deaths: Default::default(),
        has_started: !is_first,
        pace: Pace::new(0, world.now),
        upgrade: Default::default(),
        promise: None,
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
    config.retries = random.chance(35).then(|| 1 + small(random));
    config.kill_children_on_exit = random.chance(30);
    config.command_socket_as_fd = random.chance(50);
    if random.chance(30) {
        // A Ruby Einhorn knows no others.
        return config;
    }
    let bounds = &mut config.rollout;
    let timeout = |random: &mut Random| requests::timeout(random).map(|(_, nanos)| span(nanos));
    bounds.ack_timeout = timeout(random);
    bounds.upgrade_timeout = timeout(random).filter(|_| random.chance(40));
    bounds.failures_max = random.chance(50).then(|| small(random));
    bounds.canary = span(random.one_of(requests::ACK_SPANS).1);
    bounds.on_canary = random.chance(50).then(|| "look".into()).into_iter().collect();
    bounds.on_canary_timeout = timeout(random).unwrap_or(bounds.on_canary_timeout);
    config
}

/// As after a re-exec: workers of two generations live, in any condition, mostly in a roll-out or
/// after one that failed; no first start.
fn midlife(state: &mut State, ledger: &mut Ledger, world: &mut World) {
    let (from, newest) = (2, 3);
    let began = world.now;
    world.now += 1000 * super::SECOND;
    state.reexec_count = 7;
    state.cold_start_count = 0;
    ledger.upgrade.reexec_count = 7;
    let kind = world.random.one_of(&[None, Some(RolloutKind::Smooth), Some(RolloutKind::Fleet)]);
    let has_passed = world.random.chance(50);
    let rollout = kind.map(|kind| {
        let mut rollout = Rollout::new(kind, from, world.now - super::SECOND, world.now);
        rollout.canary.take_if(|_| has_passed);
        rollout
    });
    let has_canary = rollout.as_ref().is_some_and(|rollout| rollout.canary.is_some());
    state.rollout = rollout.as_ref().map(|rollout| {
        let (kind, from) = (rollout.kind, Generation(rollout.from));
        let at = (Monotonic(rollout.asked_at), Monotonic(rollout.began_at));
        let mut begun = einhorn::state::Rollout::new(kind, from, at.0, at.1);
        if !has_canary {
            begun.stage = RolloutStage::Replacing;
        }
        begun
    });
    let has_failed = rollout.is_none() && world.random.chance(50);
    ledger.upgrade.rollout = rollout;
    ledger.newest = newest;
    ledger.generation = if has_failed { from } else { newest };
    state.newest_generation = Generation(newest);
    state.generation = Generation(ledger.generation);
    ledger.first_count = 0;
    let mut canary_count = 0;
    for slot in 0..u32::try_from(world.random.below(20)).expect("a small number") {
        let mut generation = newest - world.random.one_of(&[0, 0, 1]);
        if has_canary && generation == newest {
            canary_count += 1;
            generation = if canary_count > 1 { from } else { newest };
        }
        // Without a roll-out no old one stays.
        let is_left = generation < newest && kind.is_none() && !has_failed;
        let told_at = (is_left || world.random.chance(20)).then_some(world.now);
        let entry = Entry {
            slot: slot * 2,
            generation,
            started_at: began + world.random.below(1000 * super::SECOND),
            acked_at: world.random.chance(60).then_some(world.now),
            told_at,
            signals: told_at.map(|_| Signal::Usr2).into_iter().collect(),
            ..Entry::default()
        };
        let started = Now { monotonic: Monotonic(entry.started_at), ..Now::default() };
        let mut worker = Worker::new(Slot(entry.slot), Generation(entry.generation), started);
        worker.acked_at = entry.acked_at.map(Monotonic);
        worker.signaled.clone_from(&entry.signals);
        worker.told_to_go_at = told_at.map(Monotonic);
        let pid = world.start(ledger, Mood::Usual);
        state.workers.insert(pid, worker);
        ledger.workers.insert(pid, entry);
    }
    ledger.streak = world.random.one_of(&[0, 0, 1, 2]);
    ledger.last_start_at = Some(world.now);
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
