//! To which worker a process belongs that is none itself.

use std::collections::BTreeMap;

use crate::decide::Membership;
use crate::protocol::Request;
use crate::state::{Pid, Worker};
use crate::sys::process;

/// How many ancestors are asked after; nobody nests processes that deep between a worker and the
/// one that is up.
const ANCESTORS_MAX: usize = 32;

/// What is to be known of the process that a request names; `None` when it is a worker, or when
/// nobody is to be looked up.
pub fn membership(workers: &BTreeMap<Pid, Worker>, request: &Request) -> Option<Membership> {
    let pid = request.named_pid().filter(|_| request.is_worker_message())?;
    // A worker leads its group: its own pid says it all.
    (!workers.contains_key(&Pid(pid))).then(|| look_up(workers, pid))
}

fn look_up(workers: &BTreeMap<Pid, Worker>, pid: i32) -> Membership {
    let group = match process::group_of(pid) {
        Ok(None) => return Membership::NoSuchProcess,
        Ok(Some(group)) => Some(Pid(group)),
        Err(_) => None,
    };
    if let Some(group) = group.filter(|group| workers.contains_key(group)) {
        return Membership::InGroup(group);
    }
    let parent = |pid: &i32| process::parent_of(*pid).ok().flatten().filter(|parent| *parent > 1);
    let ancestors = std::iter::successors(parent(&pid), parent).take(ANCESTORS_MAX).map(Pid);
    let mut of_workers = ancestors.filter(|ancestor| workers.contains_key(ancestor));
    of_workers.next().map_or(Membership::Unrelated, Membership::Descendant)
}
