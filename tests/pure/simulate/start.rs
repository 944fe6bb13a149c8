//! Where a run begins: any configuration, before its first worker.

use std::time::Duration;

use einhorn::state::{AckMode, State};

use super::random::Random;
use crate::example::{MASTER, config};

/// A master of any configuration.
pub(super) fn any(random: &mut Random) -> State {
    const MS: fn(u64) -> Duration = Duration::from_millis;
    const NANOSECOND: Duration = Duration::from_nanos(1);
    let intervals = [NANOSECOND, MS(100), MS(1000), MS(1000), MS(2500), MS(29_900), MS(100_000)];
    let spans = [MS(0), MS(50), MS(1000), MS(10_000)];
    let timeouts = [MS(50), MS(1000), MS(10_000), MS(100_000)];
    let small =
        |random: &mut Random, most| 1 + u32::try_from(random.below(most)).expect("a small number");
    let most = random.one_of(&[3, 6, 6, 12, 12, 12, 20, 50, 50, 50]);
    let mut config = config(small(random, most));
    config.respawn_interval = random.one_of(&intervals);
    config.ack_mode = match random.chance(50) {
        true => AckMode::Manual,
        false => AckMode::Timer(random.one_of(&spans)),
    };
    config.signal_timeout = random.chance(50).then(|| random.one_of(&intervals));
    config.max_unacked = random.chance(50).then(|| small(random, 6));
    config.max_upgrade_additional = random.chance(40).then(|| small(random, 6));
    config.retries = random.chance(35).then(|| 1 + small(random, 6));
    config.kill_children_on_exit = random.chance(30);
    config.command_socket_as_fd = random.chance(50);
    // A Ruby Einhorn knows no others.
    if random.chance(60) {
        let bounds = &mut config.rollout;
        bounds.ack_timeout = random.chance(80).then(|| random.one_of(&timeouts));
        bounds.upgrade_timeout = random.chance(30).then(|| random.one_of(&timeouts));
        bounds.failures_max = random.chance(50).then(|| small(random, 6));
        bounds.canary = random.one_of(&spans);
        bounds.on_canary = random.chance(85).then(|| "look".into()).into_iter().collect();
        bounds.on_canary_timeout = random.one_of(&timeouts);
    }
    State::new(config, Vec::new(), MASTER, small(random, 8))
}
