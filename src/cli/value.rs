//! Parsers for the values of options.

use std::ffi::OsString;
use std::time::Duration;

use crate::protocol::span;
use crate::state::{AckMode, Nice, ReexecMode, SECONDS_MAX, WORKERS_MAX};

/// A span or `none`. Named, because clap takes an `Option` for an option that may be absent.
pub(super) type SpanOrNone = Option<Duration>;

/// A command, split into shell words. Named, because clap takes a `Vec` for a repeatable option.
pub(super) type ShellWords = Vec<OsString>;

pub(super) fn at_least_one(text: &str) -> Result<u32, String> {
    bounded(text, 1, WORKERS_MAX)
}

pub(super) fn retries(text: &str) -> Result<u32, String> {
    bounded(text, 1, u32::MAX)
}

pub(super) fn backlog(text: &str) -> Result<u32, String> {
    bounded(text, 1, i32::MAX.unsigned_abs())
}

pub(super) fn bounded(text: &str, min: u32, max: u32) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| (min..=max).contains(number));
    number.ok_or_else(|| format!("must be a whole number from {min} to {max}"))
}

/// Seconds above zero, with or without a fraction.
///
/// # Errors
/// A sentence that says what is expected.
pub fn positive_seconds(text: &str) -> Result<Duration, String> {
    seconds(text, false)
}

pub(super) fn nonnegative_seconds(text: &str) -> Result<Duration, String> {
    seconds(text, true)
}

pub(super) fn positive_seconds_or_none(text: &str) -> Result<SpanOrNone, String> {
    if text == "none" {
        return Ok(None);
    }
    let span = seconds(text, false).map(Some);
    span.map_err(|why| why.replacen("must be", "must be `none` or", 1))
}

pub(super) fn reexec_mode(text: &str) -> Result<ReexecMode, String> {
    match text {
        "exec" => Ok(ReexecMode::Exec),
        "pinned" => Ok(ReexecMode::Pinned),
        _ => Err("must be `exec` or `pinned`".to_owned()),
    }
}

pub(super) fn ack_mode(text: &str) -> Result<AckMode, String> {
    if text == "manual" {
        return Ok(AckMode::Manual);
    }
    let timer = seconds(text, true).map(AckMode::Timer);
    timer.map_err(|why| why.replacen("must be", "must be `manual` or", 1))
}

pub(super) fn seconds(text: &str, zero_allowed: bool) -> Result<Duration, String> {
    let number: f64 = text.parse().map_err(|_| "must be a number of seconds".to_owned())?;
    span("it", number, zero_allowed, SECONDS_MAX).map_err(|why| why.replacen("it ", "", 1))
}

pub(super) fn shell_words(text: &str) -> Result<ShellWords, String> {
    let words = shell_words::split(text)
        .map_err(|why| format!("cannot be split into shell words: {why}"))?;
    match words.is_empty() {
        true => Err("must name a command".to_owned()),
        false => Ok(words.into_iter().map(OsString::from).collect()),
    }
}

pub(super) fn nice(text: &str) -> Result<Nice, String> {
    let mut parts = text.splitn(3, ':');
    let mut level = || match parts.next() {
        None | Some("") => Ok(None),
        Some(part) => part.parse().ok().filter(|level| (-20..=19).contains(level)).map_or_else(
            || Err(format!("must be a level from -20 to 19, not {part:?}")),
            |level| Ok(Some(level)),
        ),
    };
    let (master, worker) = (level()?, level()?);
    if master.is_none() && worker.is_none() {
        return Err("must give at least one level, such as 5 or 5:10".to_owned());
    }
    let renice_command = parts
        .next()
        .map(|command| shell_words::split(command).map_err(|why| format!("RENICE_CMD: {why}")))
        .transpose()?
        .filter(|words| !words.is_empty());
    Ok(Nice { master, worker, renice_command })
}
