//! The `config` command: changes settings at run time, all of them or none.

use std::ffi::OsString;
use std::time::Duration;

use crate::decide::turn::Turn;
use crate::decide::waiters::Answer;
use crate::decide::{backoff, leftovers, pool, stop};
use crate::protocol::{Setting, parse_settings, span};
use crate::state::{AckMode, Config, SECONDS_MAX, StopSchedule, Verbosity, WORKERS_MAX};

/// Applies a mapping of settings. The words are joined, so that clients need not quote it.
pub(super) fn change(turn: &mut Turn, words: &[String]) -> Answer {
    if words.is_empty() {
        let why = "config needs a mapping of settings, such as: config '{seconds: 2}'";
        return Answer::not_understood(why);
    }
    match parse_settings(&words.join(" ")).and_then(|settings| check(turn, settings)) {
        Err(why) => Answer::not_understood(why),
        Ok((config, changes)) => {
            let had_given_up = turn.state.has_given_up();
            pool::set_target(turn, config.target);
            let before = std::mem::replace(&mut turn.state.config, config);
            leftovers::reschedule(turn, &before);
            stop::reschedule(turn, &before);
            if !had_given_up {
                backoff::log_if_given_up(turn);
            }
            let message = match changes.is_empty() {
                true => "Changed nothing".to_owned(),
                false => format!("Changed {}", changes.join(", ")),
            };
            turn.info(message.clone());
            Answer::done(message)
        }
    }
}

/// The settings after the change, and a phrase for each one that changed.
fn check(turn: &Turn, settings: Vec<Setting>) -> Result<(Config, Vec<String>), String> {
    let mut config = turn.state.config.clone();
    let mut changes = Vec::new();
    for setting in settings {
        let before = config.clone();
        let change = apply(turn, &mut config, setting)?;
        changes.extend((config != before).then_some(change));
    }
    if let (Some(stop), Some(_)) = (&config.stop, config.signal_timeout) {
        return Err(format!(
            "signal_timeout is for workers that stop on USR2; with stop ({stop}) the seconds stand \
             in there, and signal_timeout must be null"
        ));
    }
    Ok((config, changes))
}

/// Checks and applies a setting. Returns a description of the change.
fn apply(turn: &Turn, config: &mut Config, setting: Setting) -> Result<String, String> {
    let bounds = &mut config.rollout;
    Ok(match setting {
        Setting::Number(number) => {
            if let Some(refusal) = pool::refuse_target(turn, i64::from(number)) {
                return Err(refusal);
            }
            config.target = at_least_one("number", number, WORKERS_MAX)?;
            format!("number to {number}")
        }
        Setting::Seconds(seconds) => {
            set_span(&mut config.respawn_interval, "seconds", seconds, false)?
        }
        Setting::AckManual => {
            config.ack_mode = AckMode::Manual;
            "ack_mode to manual".to_owned()
        }
        Setting::AckTimer(seconds) => {
            config.ack_mode = AckMode::Timer(span("ack_mode", seconds, true, SECONDS_MAX)?);
            format!("ack_mode to {seconds}")
        }
        Setting::SignalTimeout(seconds) => {
            set_limit(&mut config.signal_timeout, "signal_timeout", seconds)?
        }
        Setting::Stop(schedule) => {
            let schedule = schedule.map(|text| StopSchedule::parse(&text)).transpose();
            config.stop = schedule.map_err(|why| format!("stop {why}"))?;
            format!("stop to {}", or_none(config.stop.as_ref()))
        }
        Setting::Verbosity(level) => {
            config.verbosity = verbosity(level)?;
            format!("verbosity to {level}")
        }
        Setting::MaxUnacked(count) => {
            config.max_unacked = Some(at_least_one("max_unacked", count, WORKERS_MAX)?);
            format!("max_unacked to {count}")
        }
        Setting::MaxUpgradeAdditional(count) => {
            let additional = &mut config.max_upgrade_additional;
            set_count(additional, "max_upgrade_additional", count, WORKERS_MAX)?
        }
        Setting::Retries(count) => set_count(&mut config.retries, "retries", count, u32::MAX)?,
        Setting::DropEnvVars(names) => {
            let change = format!("drop_environment_variables to [{}]", names.join(", "));
            config.drop_env_vars = names.into_iter().map(OsString::from).collect();
            change
        }
        Setting::Backlog(length) if length == config.backlog => String::new(),
        Setting::Backlog(_) => {
            return Err(format!(
                "backlog is {} and cannot be changed: a listener keeps the backlog that it was \
                 bound with",
                config.backlog
            ));
        }
        Setting::AckTimeout(seconds) => set_limit(&mut bounds.ack_timeout, "ack_timeout", seconds)?,
        Setting::UpgradeTimeout(seconds) => {
            set_limit(&mut bounds.upgrade_timeout, "upgrade_timeout", seconds)?
        }
        Setting::UpgradeMaxFailures(count) => {
            set_count(&mut bounds.failures_max, "upgrade_max_failures", count, u32::MAX)?
        }
        Setting::CanarySeconds(seconds) => {
            set_span(&mut bounds.canary, "canary_seconds", seconds, true)?
        }
        Setting::OnCanaryTimeout(seconds) => {
            set_span(&mut bounds.on_canary_timeout, "on_canary_timeout", seconds, false)?
        }
    })
}

fn verbosity(level: u32) -> Result<Verbosity, String> {
    let known = u8::try_from(level).ok().map(Verbosity);
    known
        .filter(|verbosity| *verbosity <= Verbosity::ERROR)
        .ok_or_else(|| format!("verbosity must be 0, 1 or 2, not {level}"))
}

fn at_least_one(name: &str, value: u32, max: u32) -> Result<u32, String> {
    match (1..=max).contains(&value) {
        true => Ok(value),
        false => Err(format!("{name} must be from 1 to {max}, not {value}")),
    }
}

fn set_count(
    place: &mut Option<u32>,
    name: &str,
    count: Option<u32>,
    max: u32,
) -> Result<String, String> {
    *place = count.map(|count| at_least_one(name, count, max)).transpose()?;
    Ok(format!("{name} to {}", or_none(count)))
}

fn set_span(
    place: &mut Duration,
    name: &str,
    seconds: f64,
    zero_allowed: bool,
) -> Result<String, String> {
    *place = span(name, seconds, zero_allowed, SECONDS_MAX)?;
    Ok(format!("{name} to {seconds}"))
}

fn set_limit(
    place: &mut Option<Duration>,
    name: &str,
    seconds: Option<f64>,
) -> Result<String, String> {
    *place = seconds.map(|seconds| span(name, seconds, false, SECONDS_MAX)).transpose()?;
    Ok(format!("{name} to {}", or_none(seconds)))
}

fn or_none(value: Option<impl ToString>) -> String {
    value.map_or("none".to_owned(), |value| value.to_string())
}
