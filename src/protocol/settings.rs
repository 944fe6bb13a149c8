//! The settings that `config` can change, under the original's names.

use std::time::Duration;

use crate::protocol::value::Value;
use crate::scalar::Scalar;

/// One change of a setting, of the right type; `decide` checks its bounds.
#[derive(Clone, Debug, PartialEq)]
pub enum Setting {
    /// `number`: the target number of workers.
    Number(u32),
    /// `seconds`: the respawn interval.
    Seconds(f64),
    /// `ack_mode: {type: manual}`, or `ack_mode: manual`.
    AckManual,
    /// `ack_mode: {type: timer, timeout: SECONDS}`, or `ack_mode: SECONDS`.
    AckTimer(f64),
    /// `signal_timeout`; `None` for no limit.
    SignalTimeout(Option<f64>),
    /// `stop`, a schedule; `None` is what applies without `--stop`.
    Stop(Option<String>),
    /// `verbosity`: 0 to 2.
    Verbosity(u32),
    /// `max_unacked`.
    MaxUnacked(u32),
    /// `max_upgrade_additional`; `None` for no limit.
    MaxUpgradeAdditional(Option<u32>),
    /// `retries`; `None` for no limit.
    Retries(Option<u32>),
    /// `drop_environment_variables`: the whole list, which replaces the previous one.
    DropEnvVars(Vec<String>),
    /// `backlog`, which cannot change: the original's clients must send `:config:` whole, so they
    /// send it along with `number`.
    Backlog(u32),
    /// `ack_timeout`; `None` for no limit.
    AckTimeout(Option<f64>),
    /// `upgrade_timeout`; `None` for no limit.
    UpgradeTimeout(Option<f64>),
    /// `upgrade_max_failures`; `None` for the default.
    UpgradeMaxFailures(Option<u32>),
    /// `canary_seconds`.
    CanarySeconds(f64),
    /// `on_canary_timeout`.
    OnCanaryTimeout(f64),
}

/// The names of the settings, for error messages.
const NAMES: &str = "number, seconds, ack_mode, signal_timeout, stop, verbosity, max_unacked, \
                     max_upgrade_additional, retries, drop_environment_variables, ack_timeout, \
                     upgrade_timeout, upgrade_max_failures, canary_seconds, on_canary_timeout";

/// Parses the mapping that `config` is given: settings by name, with or without Ruby's colon, at
/// the top level or in the original's nested `:config:`.
///
/// # Errors
/// It is not a mapping, names a setting that cannot be changed, or has a value of the wrong type.
pub fn parse_settings(document: &str) -> Result<Vec<Setting>, String> {
    let value = Value::parse(document).map_err(|why| {
        // Psych refuses this too, with an error as obscure as ours.
        let hint = match document.contains("{:") {
            true => "; within braces a Ruby symbol must be quoted, such as {\":seconds\": 2}",
            false => "",
        };
        format!("Could not parse the settings, which must be a mapping: {why}{hint}")
    })?;
    let mut settings = Vec::new();
    read(&value, &mut settings)?;
    if settings.is_empty() {
        return Err(format!("No settings given. These can be changed: {NAMES}"));
    }
    Ok(settings)
}

fn read(value: &Value, settings: &mut Vec<Setting>) -> Result<(), String> {
    let Value::Map(entries) = value else {
        let kind = value.kind();
        return Err(format!("The settings must be a mapping such as {{seconds: 2}}, not {kind}"));
    };
    for (key, value) in entries {
        let key = key.to_string();
        let name = key.strip_prefix(':').unwrap_or(&key);
        let setting = match name {
            "config" => {
                read(value, settings)?;
                continue;
            }
            "number" => Setting::Number(whole(name, value)?),
            "seconds" => Setting::Seconds(seconds(name, value)?),
            "ack_mode" => ack_mode(value)?,
            "signal_timeout" => Setting::SignalTimeout(optional(value, |v| seconds(name, v))?),
            "stop" => Setting::Stop(optional(value, |v| text(name, v))?),
            "verbosity" => Setting::Verbosity(whole(name, value)?),
            "max_unacked" => Setting::MaxUnacked(whole(name, value)?),
            "max_upgrade_additional" => {
                Setting::MaxUpgradeAdditional(optional(value, |v| whole(name, v))?)
            }
            "retries" => Setting::Retries(optional(value, |v| whole(name, v))?),
            "drop_environment_variables" => Setting::DropEnvVars(names(name, value)?),
            "backlog" => Setting::Backlog(whole(name, value)?),
            "ack_timeout" => Setting::AckTimeout(optional(value, |v| seconds(name, v))?),
            "upgrade_timeout" => Setting::UpgradeTimeout(optional(value, |v| seconds(name, v))?),
            "upgrade_max_failures" => {
                Setting::UpgradeMaxFailures(optional(value, |v| whole(name, v))?)
            }
            "canary_seconds" => Setting::CanarySeconds(seconds(name, value)?),
            "on_canary_timeout" => Setting::OnCanaryTimeout(seconds(name, value)?),
            other => {
                return Err(format!(
                    "Cannot change {other:?} while running. These can be changed: {NAMES}"
                ));
            }
        };
        settings.push(setting);
    }
    Ok(())
}

fn ack_mode(value: &Value) -> Result<Setting, String> {
    const WRONG: &str = "ack_mode must be manual, a number of seconds, {type: manual} or \
                         {type: timer, timeout: SECONDS}";
    let is_map = matches!(value, Value::Map(_));
    let kind = if is_map { value.get("type").ok_or(WRONG)? } else { value };
    match kind.to_string().trim_start_matches(':') {
        "manual" => Ok(Setting::AckManual),
        "timer" if is_map => {
            let timeout = value.get("timeout").ok_or(WRONG)?;
            seconds("ack_mode's timeout", timeout).map(Setting::AckTimer)
        }
        _ if is_map => Err(WRONG.to_owned()),
        _ => seconds("ack_mode", value).map(Setting::AckTimer).map_err(|_| WRONG.to_owned()),
    }
}

fn optional<T>(
    value: &Value,
    read: impl FnOnce(&Value) -> Result<T, String>,
) -> Result<Option<T>, String> {
    match value {
        Value::Null => Ok(None),
        other => read(other).map(Some),
    }
}

fn whole(name: &str, value: &Value) -> Result<u32, String> {
    let number = match value {
        Value::Scalar(Scalar::Integer(number)) => u32::try_from(*number).ok(),
        _ => None,
    };
    number.ok_or_else(|| format!("{name} must be a whole number, not {value}"))
}

fn text(name: &str, value: &Value) -> Result<String, String> {
    match value {
        Value::Scalar(Scalar::Text(text)) => Ok(text.clone()),
        _ => Err(format!("{name} must be a word, not {value}")),
    }
}

fn names(name: &str, value: &Value) -> Result<Vec<String>, String> {
    let wrong = || format!("{name} must be a list of names of environment variables");
    let Value::List(items) = value else { return Err(wrong()) };
    let read = |item: &Value| match item {
        Value::Scalar(Scalar::Text(text)) if !text.is_empty() && !text.contains(['=', '\0']) => {
            Ok(text.clone())
        }
        _ => Err(wrong()),
    };
    items.iter().map(read).collect()
}

fn seconds(name: &str, value: &Value) -> Result<f64, String> {
    match value {
        // Integers beyond 2^53, which lose precision, exceed the bound anyway.
        Value::Scalar(Scalar::Integer(number)) => Ok(*number as f64),
        Value::Scalar(Scalar::Float(number)) => Ok(*number),
        _ => Err(format!("{name} must be a number of seconds, not {value}")),
    }
}

/// Checks a number of seconds: finite, above zero (or also zero if `zero_allowed`), at most `max`.
/// Less than a nanosecond counts as zero.
///
/// # Errors
/// A sentence that names the bounds.
pub fn span(name: &str, seconds: f64, zero_allowed: bool, max: f64) -> Result<Duration, String> {
    let lowest = if zero_allowed { seconds >= 0.0 } else { seconds >= 1e-9 };
    if !lowest || seconds.is_nan() || seconds > max {
        let bound = if zero_allowed { "0 or more" } else { "above 0" };
        return Err(format!("{name} must be {bound} and at most {max:.0} seconds, not {seconds}"));
    }
    Ok(Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_read_with_and_without_the_colon() {
        let all = parse_settings(
            "{':config': {':number': 3, seconds: 2.5}, ack_mode: {type: timer, timeout: 4}, \
             ':signal_timeout': null, stop: TERM/30/KILL, verbosity: 0, max_unacked: 1, \
             max_upgrade_additional: 2, retries: 5, \
             ':drop_environment_variables': [HOME, RUBYOPT], backlog: 100}",
        );
        assert_eq!(
            all.unwrap(),
            [
                Setting::Number(3),
                Setting::Seconds(2.5),
                Setting::AckTimer(4.0),
                Setting::SignalTimeout(None),
                Setting::Stop(Some("TERM/30/KILL".to_owned())),
                Setting::Verbosity(0),
                Setting::MaxUnacked(1),
                Setting::MaxUpgradeAdditional(Some(2)),
                Setting::Retries(Some(5)),
                Setting::DropEnvVars(vec!["HOME".to_owned(), "RUBYOPT".to_owned()]),
                Setting::Backlog(100),
            ]
        );
    }

    #[test]
    fn ruby_symbols_are_accepted() {
        let config = [Setting::Number(3), Setting::Backlog(100), Setting::Seconds(1.0)];
        for (document, settings) in [
            (":signal_timeout: 5", &[Setting::SignalTimeout(Some(5.0))][..]),
            ("--- :signal_timeout: 5", &[]),
            ("---\n:signal_timeout: ~\n", &[Setting::SignalTimeout(None)]),
            ("ack_mode: :manual", &[Setting::AckManual]),
            ("{\":ack_mode\": {\":type\": \":manual\"}}", &[Setting::AckManual]),
            (":ack_mode:\n  :type: :timer\n  :timeout: 5\n", &[Setting::AckTimer(5.0)]),
            ("{:ack_mode: {:type: :manual}}", &[]),
            (":config: {':number': 3, ':backlog': 100, ':seconds': 1}", &config),
            (":config: {number: 3, backlog: 100, seconds: 1}", &config),
            (":config:\n  :number: 3\n  :backlog: 100\n  :seconds: 1", &config),
            (":config: {:number: 3, :backlog: 100, :seconds: 1}", &[]),
        ] {
            match parse_settings(document) {
                Ok(found) => assert_eq!(found, settings, "{document}"),
                Err(why) => {
                    assert!(settings.is_empty(), "{document}: {why}");
                    assert_eq!(why.contains("must be quoted"), document.contains("{:"), "{why}");
                }
            }
        }
    }

    #[test]
    fn other_settings_and_types_are_refused_by_name() {
        for (document, why) in [
            ("{cmd: [sh]}", "\"cmd\""),
            ("{nice: {renice_cmd: x}}", "\"nice\""),
            ("{number: many}", "number must be a whole number, not many"),
            ("{seconds: [1]}", "seconds must be a number of seconds, not a list"),
            ("{ack_mode: {type: magic}}", "ack_mode must be"),
            ("[1]", "not a list"),
            ("{}", "No settings"),
            ("{number: -1}", "whole number"),
            ("{drop_environment_variables: HOME}", "must be a list of names"),
            ("{drop_environment_variables: [A, 'B=1']}", "must be a list of names"),
            ("{reexec_commandline: [sh]}", "\"reexec_commandline\""),
        ] {
            let message = parse_settings(document).unwrap_err();
            assert!(message.contains(why), "{document}: {message}");
        }
    }
}
