//! `--capture-stderr`, and the pipes that capture the workers' standard error.

use crate::schema::codec::Bytes;
use crate::schema::frozen::frozen;
use crate::schema::handover::CarriedPipe;
use crate::schema::section::section;
use crate::schema::wire::Identity;
use crate::state::Pid;

section! {
    struct WorkerStderr: Critical "worker-stderr" {
        is_captured: bool = state.config.capture_stderr,
        pipes: Vec<Pipe> = worker_stderr,
    }
}

frozen! {
    struct Pipe of CarriedPipe {
        pid: Pid,
        is_orphan: bool,
        number: i32,
        identity: Identity,
        kept: Bytes,
        unsent: u32,
    }
}
