//! What reaped workers have left running in their process groups.

use std::collections::BTreeMap;

use crate::schema::codec::Text;
use crate::schema::frozen::frozen;
use crate::schema::section::section;
use crate::schema::sections::stop_signals::StopSignal;
use crate::schema::sections::workers::StopProgress;
use crate::state::{self, Generation, Monotonic, Pid, Realtime, Slot};

section! {
    struct Leftovers: Critical "leftovers" {
        leftovers: BTreeMap<Pid, Leftover> = state.leftovers,
    }
}

// Of a reaped worker, only the facts with which its schedule goes on.
frozen! {
    struct Leftover of state::Leftover {
        worker: ReapedWorker,
        count: u32,
        program: Option<Text>,
        look_at: Monotonic,
    }

    struct ReapedWorker of state::Worker {
        slot: Slot,
        generation: Generation,
        spawned_at: Monotonic,
        spawned_on: Realtime,
        acked_at: Option<Monotonic>,
        signaled: Vec<Text>,
        stop_requested_at: Option<Monotonic>,
        stop_progress: Option<StopProgress>,
        stop_signal: Option<StopSignal>,
        last_signaled_on: Option<Realtime>,
        ..state::Worker::default()
    }
}
