//! The workers that a signal suspends, or has suspended.

use std::time::Duration;

use crate::schema::codec::Text;
use crate::schema::frozen::frozen;
use crate::schema::section::column;
use crate::state::{self, Monotonic};

column! {
    struct Suspensions: Other "suspensions" {
        suspension: Suspension,
    }
}

frozen! {
    struct Suspension of state::Suspension {
        current: Option<Suspended>,
        total: Duration,
        continued_at: Option<Monotonic>,
    }

    struct Suspended of state::Suspended {
        signal: Text,
        since: Monotonic,
    }
}
