//! Clients that are owed a final reply.

use crate::schema::frozen::frozen;
use crate::schema::section::section;
use crate::schema::wire::Scalar;
use crate::state::{self, ConnectionId, Generation};

section! {
    struct Waiters: Critical "waiters" {
        waiters: Vec<Waiter> = state.waiters,
    }
}

frozen! {
    struct Waiter of state::Waiter {
        connection: ConnectionId,
        request_id: Option<Scalar>,
        waits_for: WaitsFor,
        wants_events: bool,
        until_drained: bool,
        killed_count: u32,
    }

    enum WaitsFor of state::WaitsFor {
        Reexec,
        Rollout,
        Upgrade,
        Drained { before: Generation },
        Settled,
        Exit,
    }
}
