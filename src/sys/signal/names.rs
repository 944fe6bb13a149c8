//! Signal names and numbers on this machine.

use nix::sys::signal::Signal;

/// The number of a signal by its name without `SIG`, on this machine.
pub fn number(name: &str) -> Option<i32> {
    format!("SIG{name}").parse::<Signal>().ok().map(|signal| signal as i32)
}

/// The name without `SIG` of a standard signal.
pub fn name(number: i32) -> Option<&'static str> {
    Signal::try_from(number).ok().and_then(|signal| signal.as_str().strip_prefix("SIG"))
}
