//! Waiting on conditions, never for a time that is hoped to be enough.
#![expect(clippy::disallowed_methods, reason = "the one place that sleeps between two looks")]

use std::time::{Duration, Instant};

/// How long anything may take on a busy machine before it counts as never.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Waits until `look` finds something.
///
/// # Panics
/// It did not in time; `explain` says what was there instead.
pub(crate) fn until_some<T>(
    what: &str,
    mut look: impl FnMut() -> Option<T>,
    explain: impl Fn() -> String,
) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain until {what}\n{}", explain());
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Keeps looking for a span at something that must hold all the while. For what must not happen:
/// the only proof is that time passes without it.
pub(crate) fn throughout(span: Duration, mut check: impl FnMut()) {
    let end = Instant::now() + span;
    while Instant::now() < end {
        check();
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Keeps looking for as long as something goes on, at what must hold all the while.
pub(crate) fn as_long_as(goes_on: impl Fn() -> bool, mut check: impl FnMut()) {
    while goes_on() {
        check();
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Sleeps, for a worker that was told to: what it takes its time for is what is tested.
pub(crate) fn as_told(span: Duration) {
    std::thread::sleep(span);
}

/// Sleeps until a moment, for what is to happen at one.
pub(crate) fn moment(at: Instant) {
    std::thread::sleep(at.saturating_duration_since(Instant::now()));
}

/// Waits until `look` finds something, looking all the time: what follows is to be soon after.
///
/// # Panics
/// It did not in time.
pub(crate) fn spinning<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain until {what}");
    }
}
