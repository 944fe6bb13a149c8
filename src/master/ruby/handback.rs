//! Handing back to a Ruby Einhorn: this image writes its state in the original's format and execs
//! it (docs/handover.md). There is no roll-back from it, only another upgrade.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::os::fd::RawFd;

use anyhow::{Context, Error, Result};

use crate::master::Master;
use crate::master::now::now;
use crate::master::upgrade::candidate::Candidate;
use crate::master::upgrade::exec::ExecRequest;
use crate::master::upgrade::open_files::original_limit;
use crate::ruby;
use crate::schema::Role;
use crate::sys::memfd;
use crate::sys::signal::ForeignImage;

impl Master {
    /// Execs a candidate that is a Ruby Einhorn; returns only if that failed.
    pub(in crate::master) fn hand_back_to(&self, candidate: &Candidate) -> Result<Infallible> {
        let handover = self.handover(&[]).context("cannot list descriptors")?;
        let document = ruby::write(&handover, now()).map_err(Error::msg)?;
        let state = memfd::sealed("einhorn-state", document.as_bytes())
            .context("cannot make a memfd for the state")?;
        let left =
            handover.connections.iter().filter(|connection| !ruby::is_handed_back(connection));
        let left: BTreeSet<Role> = left.map(|left| Role::Connection(left.id)).collect();
        let descriptors = handover.descriptors.iter();
        let descriptors =
            descriptors.filter(|one| is_for_ruby(one.role) && !left.contains(&one.role));
        let carried: Vec<RawFd> = descriptors.map(|carried| carried.number).collect();
        let open_files = original_limit(&self.origin, &carried);
        // An alarm would not end a hung wrapper, but start an upgrade later.
        let foreign_image = Some(ForeignImage::Ruby { mask: self.origin.mask() });
        self.execute(candidate, ExecRequest { state: &state, carried, open_files, foreign_image })
    }
}

/// Whether the original gets a descriptor. It holds its lock only while it starts, and would leak
/// descriptors that it does not know to its workers.
fn is_for_ruby(role: Role) -> bool {
    match role {
        Role::CommandSocket | Role::Listener(_) | Role::Connection(_) | Role::Inherited => true,
        Role::SocketLock | Role::Lock | Role::Pidfile | Role::Worker(_) => false,
    }
}
