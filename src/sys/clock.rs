//! The two clocks.

use nix::time::{ClockId, clock_gettime};

/// `CLOCK_MONOTONIC` in nanoseconds.
pub fn monotonic_nanos() -> u64 {
    u64::try_from(nanos(ClockId::CLOCK_MONOTONIC)).unwrap_or(0)
}

/// `CLOCK_REALTIME` in nanoseconds since 1970.
pub fn realtime_nanos() -> i64 {
    nanos(ClockId::CLOCK_REALTIME)
}

/// clock_gettime(2) fails only for clocks that do not exist; these two always do.
fn nanos(clock: ClockId) -> i64 {
    clock_gettime(clock)
        .map(|time| time.tv_sec().saturating_mul(1_000_000_000).saturating_add(time.tv_nsec()))
        .unwrap_or(0)
}
