//! Resolves plain scalars by the rules of Psych's scanner: YAML 1.1, with symbols and Psych's own
//! definition of a float.

use time::{Date, Month, PrimitiveDateTime, Time, UtcOffset};

use crate::ruby::value::Value;
use crate::state::Realtime;

/// Resolves a plain scalar without a tag.
pub(super) fn plain(text: &str) -> Value {
    let lower = text.to_ascii_lowercase();
    match lower.as_str() {
        "" | "~" | "null" => return Value::Nil,
        "true" | "yes" | "on" => return Value::Bool(true),
        "false" | "no" | "off" => return Value::Bool(false),
        ".nan" => return Value::Float(f64::NAN),
        ".inf" | "+.inf" => return Value::Float(f64::INFINITY),
        "-.inf" => return Value::Float(f64::NEG_INFINITY),
        _ => {}
    }
    if let Some(name) = text.strip_prefix(':').filter(|name| !name.is_empty()) {
        return Value::Symbol(unquoted(name).to_owned());
    }
    let number = || integer(text).map(Value::Integer).or_else(|| float(text).map(Value::Float));
    let found = number().or_else(|| time(text).map(Value::Time));
    found.unwrap_or_else(|| Value::Text(text.as_bytes().to_vec()))
}

/// `:"a b"` is the symbol `a b`.
fn unquoted(name: &str) -> &str {
    let between = |quote: char| name.strip_prefix(quote)?.strip_suffix(quote);
    between('"').or_else(|| between('\'')).unwrap_or(name)
}

fn integer(text: &str) -> Option<i128> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if !digits.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let digits: String = digits.chars().filter(|digit| !matches!(digit, '_' | ',')).collect();
    let (base, digits) = match digits.get(..2) {
        Some("0x") => (16, &digits[2..]),
        Some("0b") => (2, &digits[2..]),
        Some(_) if digits.starts_with('0') => (8, &digits[1..]),
        _ => (10, &digits[..]),
    };
    Some(sign * i128::from_str_radix(digits, base).ok().filter(|_| !digits.starts_with('+'))?)
}

/// A float has a point, and its exponent a sign: `1e5` is a string.
fn float(text: &str) -> Option<f64> {
    let is_part = |c: char| matches!(c, '0'..='9' | '.' | ',' | '_' | '+' | '-' | 'e' | 'E');
    let has_digit = text.contains(|c: char| c.is_ascii_digit());
    let bare_exponent =
        text.split_once(['e', 'E']).is_some_and(|(_, exponent)| !exponent.starts_with(['+', '-']));
    if !has_digit || !text.contains('.') || !text.chars().all(is_part) || bare_exponent {
        return None;
    }
    let digits: String = text.chars().filter(|c| !matches!(c, '_' | ',')).collect();
    digits.parse().ok()
}

/// `2026-11-20 20:20:31.536959395 +00:00`, also with `T`, `Z`, no fraction, or no offset (UTC).
fn time(text: &str) -> Option<Realtime> {
    let (date, rest) = text.split_once(['T', 't', ' '])?;
    let mut parts = date.split('-');
    let mut next = || parts.next()?.parse::<i32>().ok();
    let (year, month, day) = (next()?, next()?, next()?);
    let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
    let date = Date::from_calendar_date(year, month, u8::try_from(day).ok()?).ok()?;
    let rest = rest.trim_start();
    let end = rest.find(|c: char| !matches!(c, '0'..='9' | ':' | '.')).unwrap_or(rest.len());
    let (clock, offset) = rest.split_at(end);
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let mut parts = clock.split(':');
    let mut next = || parts.next()?.parse::<u8>().ok();
    let (hour, minute, second) = (next()?, next()?, next()?);
    let nanos: u32 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    let time = Time::from_hms_nano(hour, minute, second, nanos).ok()?;
    let instant = PrimitiveDateTime::new(date, time).assume_offset(offset_of(offset.trim())?);
    i64::try_from(instant.unix_timestamp_nanos()).ok().map(Realtime)
}

/// `Z`, `+01:00`, `-0530`, `+1`, or nothing.
fn offset_of(text: &str) -> Option<UtcOffset> {
    if text.is_empty() || text.eq_ignore_ascii_case("z") {
        return Some(UtcOffset::UTC);
    }
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+')?),
    };
    let (hours, minutes) = match digits.split_once(':') {
        Some(pair) => pair,
        None if digits.len() > 2 => digits.split_at_checked(digits.len() - 2)?,
        None => (digits, "0"),
    };
    let (hours, minutes): (i8, i8) = (hours.parse().ok()?, minutes.parse().ok()?);
    UtcOffset::from_hms(sign * hours, sign * minutes, 0).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rubys() {
        for (text, value) in [
            ("12", 12),
            ("-1_000", -1000),
            ("+1,000", 1000),
            ("0", 0),
            ("010", 8),
            ("0x1F", 31),
            ("0b101", 5),
        ] {
            assert_eq!(plain(text), Value::Integer(value), "{text}");
        }
        for (text, value) in [("1.5", 1.5), ("-.5", -0.5), ("1.0e+3", 1000.0), ("1_0.0", 10.0)] {
            assert_eq!(plain(text), Value::Float(value), "{text}");
        }
        for text in ["1e5", "1.2.3", "0o14", "08", "-", "+-1", "1-2", "..", "127.0.0.1", ":"] {
            assert_eq!(plain(text), Value::Text(text.as_bytes().to_vec()), "{text}");
        }
    }

    #[test]
    fn times_of_every_form_are_the_same_instant() {
        let instant = Realtime(1_795_206_031_536_959_395);
        for text in [
            "2026-11-20 20:20:31.536959395 +00:00",
            "2026-11-20 20:20:31.536959395 Z",
            "2026-11-20T20:20:31.536959395Z",
            "2026-11-20 21:50:31.536959395 +01:30",
            "2026-11-20 15:20:31.536959395 -0500",
            "2026-11-20 20:20:31.536959395",
        ] {
            assert_eq!(plain(text), Value::Time(instant), "{text}");
        }
        let whole = Realtime(1_795_206_031_000_000_000);
        assert_eq!(plain("2026-11-20 20:20:31 Z"), Value::Time(whole));
        for text in ["2026-11-20", "2026-13-20 20:20:31", "2026-11-20 25:20:31", "20:20:31"] {
            assert!(matches!(plain(text), Value::Text(_)), "{text}");
        }
    }

    #[test]
    fn symbols_may_be_quoted() {
        for text in [":upgrade", ":\"upgrade\""] {
            assert_eq!(plain(text), Value::Symbol("upgrade".to_owned()));
        }
    }
}
