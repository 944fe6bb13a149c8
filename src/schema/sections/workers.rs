//! Workers that have not been reaped yet. Later facts about workers are columns of their own.

use std::collections::BTreeMap;

use crate::schema::codec::Text;
use crate::schema::frozen::{Frozen, frozen};
use crate::schema::section::section;
use crate::schema::wire::Scalar;
use crate::state::{self, ConnectionId, Generation, Monotonic, Pid, Realtime, Signal, Slot};

section! {
    struct Workers: Base "workers" {
        workers: BTreeMap<Pid, Worker> = state.workers,
    }
}

frozen! {
    struct Worker of state::Worker {
        slot: Slot,
        generation: Generation,
        spawned_at: Monotonic,
        spawned_on: Realtime,
        acked_at: Option<Monotonic>,
        signaled: Vec<Text>,
        stop_requested_at: Option<Monotonic>,
        stop_progress: Option<StopProgress>,
        last_signaled_on: Option<Realtime>,
        ping: Option<Ping>,
        connection: Option<ConnectionId>,
        ..state::Worker::default()
    }

    struct StopProgress of state::StopProgress {
        step: u32,
        since: Monotonic,
    }

    struct Ping of state::Ping {
        at: Realtime,
        request_id: Option<Scalar>,
    }
}

/// A signal is written by name, without `SIG`.
impl Frozen<Signal> for Text {
    fn freeze(signal: &Signal) -> Text {
        Text(signal.name().to_owned())
    }

    fn thaw(self) -> Result<Signal, String> {
        let found = Signal::ALL.iter().find(|signal| signal.name() == self.0);
        found.copied().ok_or_else(|| "a signal is unknown".to_owned())
    }
}
