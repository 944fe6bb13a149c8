//! The upgrade whose end was not told yet.

use crate::schema::frozen::frozen;
use crate::schema::section::section;
use crate::schema::sections::last_upgrade::EndedUpgrade;
use crate::state::{self, Monotonic};

section! {
    struct EndingUpgrade: Critical "ending-upgrade" {
        ending: Option<Ending> = state.ending_upgrade,
    }
}

frozen! {
    struct Ending of state::EndingUpgrade {
        ended: EndedUpgrade,
        failure_count: u32,
        deadline: Monotonic,
    }
}
