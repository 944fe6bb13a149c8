//! The two clocks.

use crate::state::{Monotonic, Now, Realtime};
use crate::sys::clock;

/// The two clocks, now.
pub fn now() -> Now {
    Now {
        monotonic: Monotonic(clock::monotonic_nanos()),
        realtime: Realtime(clock::realtime_nanos()),
    }
}
