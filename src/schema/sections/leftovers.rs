//! What reaped workers have left running in their process groups.

use std::collections::BTreeMap;

use crate::schema::codec::Text;
use crate::schema::frozen::Frozen;
use crate::schema::section::section;
use crate::schema::sections::stop_signals::StopSignal;
use crate::schema::sections::workers::Worker;
use crate::state::{self, Monotonic, Pid};

section! {
    struct Leftovers: Critical "leftovers" {
        leftovers: BTreeMap<Pid, Leftover> = state.leftovers,
    }
}

#[derive(serde::Serialize, serde::Deserialize)]
pub(in crate::schema) struct Leftover {
    worker: Worker,
    stop_signal: Option<StopSignal>,
    count: u32,
    program: Option<Text>,
    look_at: Monotonic,
}

/// Of the worker's facts, it carries those with which its schedule goes on.
impl Frozen<state::Leftover> for Leftover {
    fn freeze(fact: &state::Leftover) -> Leftover {
        Leftover {
            worker: Frozen::freeze(&fact.worker),
            stop_signal: Frozen::freeze(&fact.worker.stop_signal),
            count: fact.count,
            program: Frozen::freeze(&fact.program),
            look_at: fact.look_at,
        }
    }

    fn thaw(self) -> Result<state::Leftover, String> {
        let stop_signal = self.stop_signal.thaw()?;
        Ok(state::Leftover {
            worker: state::Worker { stop_signal, ..self.worker.thaw()? },
            count: self.count,
            program: self.program.thaw()?,
            look_at: self.look_at,
        })
    }
}
