//! The children of a Ruby master.

use std::collections::BTreeSet;

use crate::ruby::field::{Field, Notes};
use crate::scalar::Scalar;
use crate::state::{Realtime, Signal, Slot};

/// One of its workers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Worker {
    pub pid: i32,
    /// Missing before 0.6.
    pub slot: Option<Slot>,
    pub version: u32,
    pub acked: bool,
    pub signaled: BTreeSet<Signal>,
    pub last_signaled_at: Option<Realtime>,
    pub spinup_time: Option<Realtime>,
    pub pinged_at: Option<Realtime>,
    pub pinged_request_id: Option<Scalar>,
}

const KNOWN: &[&str] = &[
    "type",
    "version",
    "acked",
    "signaled",
    "last_signaled_at",
    "index",
    "spinup_time",
    "pinged_at",
    "pinged_request_id",
];

/// The highest index that is accepted.
const SLOT_MAX: u32 = 1_000_000;

/// Reads its workers, and the pids of its state passers.
pub(super) fn read_all(
    state: &Field<'_>,
    unknown: &mut Vec<String>,
    notes: &mut Notes,
) -> Result<(Vec<Worker>, Vec<i32>), String> {
    let mut workers = Vec::new();
    let mut passers = Vec::new();
    for (pid, child) in state.need("children")?.numbered()? {
        let kind = child.need("type")?;
        match kind.name()? {
            "worker" => {
                workers.push(read(pid, &child, notes)?);
                unknown.extend(child.unknown(KNOWN)?);
            }
            "state_passer" => passers.push(pid),
            other => {
                let wrong = format!("must be :worker or :state_passer, not {other}");
                return Err(kind.wrong(wrong));
            }
        }
    }
    Ok((workers, passers))
}

fn read(pid: i32, child: &Field<'_>, notes: &mut Notes) -> Result<Worker, String> {
    let slot = |field: &Field<'_>| field.whole(0, SLOT_MAX).map(Slot);
    let signaled = child.optional("signaled", signals)?.unwrap_or_default();
    let pinged_request_id = child.get("pinged_request_id")?;
    Ok(Worker {
        pid,
        slot: child.optional("index", slot)?,
        version: child.count("version")?,
        acked: child.flag("acked")?,
        signaled,
        last_signaled_at: child.optional("last_signaled_at", Field::time)?,
        spinup_time: child.optional("spinup_time", Field::time)?,
        pinged_at: child.optional("pinged_at", Field::time)?,
        pinged_request_id: pinged_request_id.and_then(|id| id.request_id(notes)),
    })
}

/// A set of signals: an object whose `hash` has the members as keys, or such a mapping, or a list.
fn signals(field: &Field<'_>) -> Result<BTreeSet<Signal>, String> {
    let members = match field.get("hash") {
        Ok(Some(hash)) => hash.keys()?,
        Ok(None) => field.keys()?,
        Err(_) => field.items()?,
    };
    let signal = |member: &Field<'_>| {
        let name = member.name()?;
        Signal::parse(name).ok_or_else(|| field.wrong(format_args!("has no signal {name:?}")))
    };
    members.iter().map(signal).collect()
}
