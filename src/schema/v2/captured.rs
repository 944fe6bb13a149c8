//! What workers write to their standard error, with `--capture-stderr`.

use serde::{Deserialize, Serialize};

use crate::schema::codec::Bytes;
use crate::schema::{handover, v1};
use crate::state::Pid;

/// A pipe that a worker has as its standard error.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::schema) struct CarriedPipe {
    pub pid: i32,
    pub is_orphan: bool,
    pub number: i32,
    pub identity: v1::Identity,
    pub kept: Bytes,
    pub unsent: u32,
}

impl From<&handover::CarriedPipe> for CarriedPipe {
    fn from(pipe: &handover::CarriedPipe) -> CarriedPipe {
        let handover::CarriedPipe { pid, is_orphan, number, identity, kept, unsent } = pipe;
        CarriedPipe {
            pid: pid.0,
            is_orphan: *is_orphan,
            number: *number,
            identity: (*identity).into(),
            kept: kept.as_slice().into(),
            unsent: *unsent,
        }
    }
}

impl From<CarriedPipe> for handover::CarriedPipe {
    fn from(wire: CarriedPipe) -> handover::CarriedPipe {
        let CarriedPipe { pid, is_orphan, number, identity, kept: Bytes(kept), unsent } = wire;
        let (pid, identity) = (Pid(pid), identity.into());
        handover::CarriedPipe { pid, is_orphan, number, identity, kept, unsent }
    }
}
