//! `config`: settings changed while the master runs, all of them or none.

use std::time::Duration;

use crate::decide::{Turn, command, pool};
use crate::protocol::{Setting, SettingError, parse_settings, span};
use crate::state::{AckMode, Config, SECONDS_MAX, Verbosity, WORKERS_MAX};

/// Applies the mapping that the words make together; joined, so that nobody has to quote it.
pub(super) fn change(turn: &mut Turn, words: &[String]) -> String {
    if words.is_empty() {
        return "config needs a mapping of settings, such as: config '{seconds: 2}'".to_owned();
    }
    let changed = parse_settings(&words.join(" "))
        .map_err(|SettingError(why)| why)
        .and_then(|settings| check(turn, &settings));
    match changed {
        Err(why) => why,
        Ok((config, changes)) => {
            let target = config.target;
            let had_given_up = turn.state.has_given_up();
            turn.state.config = config;
            pool::set_target(turn, target);
            if !had_given_up {
                pool::count_attempts(turn);
            }
            let message = format!("Changed {}", changes.join(", "));
            turn.info(message.clone());
            message
        }
    }
}

/// The settings after the change, and a phrase for each.
fn check(turn: &Turn, settings: &[Setting]) -> Result<(Config, Vec<String>), String> {
    let mut config = turn.state.config.clone();
    let mut changes = Vec::new();
    for setting in settings {
        changes.push(match *setting {
            Setting::Number(number) => {
                if let Some(refusal) = command::refuse_target(turn, i64::from(number)) {
                    return Err(refusal);
                }
                config.target = at_least_one("number", number, WORKERS_MAX)?;
                format!("number to {number}")
            }
            Setting::Seconds(seconds) => {
                config.respawn_interval = span("seconds", seconds, false, SECONDS_MAX)?;
                format!("seconds to {seconds}")
            }
            Setting::AckManual => {
                config.ack_mode = AckMode::Manual;
                "ack_mode to manual".to_owned()
            }
            Setting::AckTimer(seconds) => {
                let after: Duration = span("ack_mode", seconds, true, SECONDS_MAX)?;
                config.ack_mode = AckMode::Timer(after);
                format!("ack_mode to {seconds}s")
            }
            Setting::SignalTimeout(None) => {
                config.signal_timeout = None;
                "signal_timeout to none".to_owned()
            }
            Setting::SignalTimeout(Some(seconds)) => {
                config.signal_timeout = Some(span("signal_timeout", seconds, false, SECONDS_MAX)?);
                format!("signal_timeout to {seconds}")
            }
            Setting::Verbosity(level) => {
                config.verbosity = u8::try_from(level)
                    .map(Verbosity)
                    .ok()
                    .filter(|verbosity| *verbosity <= Verbosity::ERROR)
                    .ok_or_else(|| format!("verbosity must be 0, 1 or 2, not {level}"))?;
                format!("verbosity to {level}")
            }
            Setting::MaxUnacked(count) => {
                config.max_unacked = Some(at_least_one("max_unacked", count, WORKERS_MAX)?);
                format!("max_unacked to {count}")
            }
            Setting::MaxUpgradeAdditional(count) => {
                config.max_upgrade_additional = count
                    .map(|count| at_least_one("max_upgrade_additional", count, WORKERS_MAX))
                    .transpose()?;
                format!("max_upgrade_additional to {}", or_none(count))
            }
            Setting::Retries(count) => {
                config.retries =
                    count.map(|count| at_least_one("retries", count, u32::MAX)).transpose()?;
                format!("retries to {}", or_none(count))
            }
        });
    }
    Ok((config, changes))
}

fn at_least_one(name: &str, value: u32, max: u32) -> Result<u32, String> {
    match (1..=max).contains(&value) {
        true => Ok(value),
        false => Err(format!("{name} must be from 1 to {max}, not {value}")),
    }
}

fn or_none(count: Option<u32>) -> String {
    count.map_or("none".to_owned(), |count| count.to_string())
}
