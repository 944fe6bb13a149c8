//! The release that wrote the state, and facts about the master process itself.

use crate::schema::codec::Text;
use crate::schema::frozen::frozen;
use crate::schema::section::section;
use crate::state::{self, Monotonic, Pid, Realtime};

section! {
    struct Master: Base "master" {
        release: Text = release,
        pid: Pid = state.master_pid,
        processor_count: u32 = state.processor_count,
        reexec_count: u32 = state.reexec_count,
        reexecuted_at: Option<Monotonic> = state.reexecuted_at,
        upgrade_due_at: Option<Monotonic> = state.upgrade_due_at,
        last_upgraded_on: Option<Realtime> = state.last_upgraded_on,
        stopping: Option<Stopping> = state.stopping,
    }
}

frozen! {
    struct Stopping of state::Stopping {
        exit_code: i32,
    }
}
