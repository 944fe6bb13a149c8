//! The master of an input of `decide_step`, as its first line says.

use std::ffi::OsString;
use std::time::Duration;

use einhorn::state::{AckMode, Config, RolloutBounds, StopSchedule};

/// Reads `WORKERS [manual] [kill] [look] [SETTING=NUMBER …] [stop=SCHEDULE]`; with `look` there is
/// a command that looks at canaries.
pub(super) fn read(line: &str) -> Config {
    let number = |name: &str| -> Option<u32> {
        let word = line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        word?.parse().ok()
    };
    let stop = line.split(' ').find_map(|word| word.strip_prefix("stop="));
    let stop = stop.and_then(|text| StopSchedule::parse(text).ok());
    let at_least_one = |number: u32| number.clamp(1, 100);
    let has = |name: &str| line.split(' ').any(|word| word == name);
    let seconds = |count: u32| Duration::from_secs(u64::from(count));
    let target = line.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(1);
    Config {
        original_command: vec![OsString::from("worker")],
        target: at_least_one(target),
        ack_mode: match has("manual") {
            true => AckMode::Manual,
            false => AckMode::Timer(seconds(number("ack").unwrap_or(1))),
        },
        signal_timeout: number("timeout").map(seconds).filter(|_| stop.is_none()),
        stop,
        max_unacked: number("unacked").map(at_least_one),
        max_upgrade_additional: number("additional").map(at_least_one),
        retries: number("retries").map(at_least_one),
        kill_children_on_exit: has("kill"),
        command_socket_as_fd: true,
        rollout: RolloutBounds {
            ack_timeout: number("late").map(seconds),
            upgrade_timeout: number("upgrade").map(seconds),
            failures_max: number("failures").map(at_least_one),
            canary: seconds(number("canary").unwrap_or(0)),
            on_canary: has("look").then(|| OsString::from("look")).into_iter().collect(),
            // As the command line has it: above 0.
            on_canary_timeout: seconds(number("looks").unwrap_or(60).max(1)),
        },
        ..Config::new(vec![OsString::from("/bin/worker")])
    }
}
