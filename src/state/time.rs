//! Instants, as plain numbers that `master` reads from the kernel's clocks.

use std::fmt;
use std::ops::Add;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The longest span that an option accepts, in seconds (about 31 years), so that arithmetic on
/// deadlines cannot overflow.
pub const SECONDS_MAX: f64 = 1e9;

/// Nanoseconds of `CLOCK_MONOTONIC`: valid across an exec, never stepped by NTP.
/// Every deadline is one of these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Monotonic(pub u64);

impl Monotonic {
    /// The span from `earlier` to this instant; zero when `earlier` is later.
    pub fn since(self, earlier: Monotonic) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Monotonic {
    type Output = Monotonic;

    fn add(self, span: Duration) -> Monotonic {
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        Monotonic(self.0.saturating_add(nanos))
    }
}

/// Nanoseconds of `CLOCK_REALTIME` since 1970: for display, never for decisions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Realtime(pub i64);

impl fmt::Display for Realtime {
    /// `2026-11-20 20:20:31.536959395 +00:00`, as the original writes times (behaviour.md
    /// section 9).
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0))
            .unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
        write!(
            out,
            "{:04}-{:02}-{:02} {:02}:{:02}:{:02}.{:09} +00:00",
            time.year(),
            u8::from(time.month()),
            time.day(),
            time.hour(),
            time.minute(),
            time.second(),
            time.nanosecond()
        )
    }
}

/// The two clocks, read together once a turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// For deadlines.
    pub monotonic: Monotonic,
    /// For display.
    pub realtime: Realtime,
}
