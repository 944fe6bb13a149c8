//! The signals that asked workers to stop, and whether they were sent.

use crate::schema::codec::Text;
use crate::schema::frozen::frozen;
use crate::schema::section::column;
use crate::schema::sections::dispositions::Disposition;
use crate::state::{self, Monotonic};

column! {
    struct StopSignals: Other "stop-signals" {
        stop_signal: Option<StopSignal>,
    }
}

frozen! {
    struct StopSignal of state::StopSignal {
        signal: Text,
        disposition: Option<Disposition>,
        delivery: Delivery,
    }

    enum Delivery of state::Delivery {
        Ordered,
        Sent,
        Failed { since: Monotonic, tried_at: Monotonic, why: Text },
    }
}
