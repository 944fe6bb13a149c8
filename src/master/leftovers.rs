//! Looking at the processes that workers leave in their process groups. The master is a child
//! subreaper, so they become its children; see PR_SET_CHILD_SUBREAPER(2const).

use std::collections::{BTreeMap, BTreeSet};

use crate::decide::{Event, Left, Level};
use crate::master::Master;
use crate::state::Pid;
use crate::sys::group::{self, Member};
use crate::sys::subreaper;

/// How many processes are named when the master leaves; more are counted.
const NAMED_MAX: usize = 8;

impl Master {
    /// Makes this process the one that orphans of its workers come to, or no longer.
    pub(super) fn set_subreaper(&mut self, is_subreaper: bool) {
        if let Err(error) = subreaper::set(is_subreaper) {
            // Without it, what a dead worker leaves running is another's child, and is not seen.
            let message = format!("Cannot look after what workers leave running: {error}");
            self.log(Level::Error, &message);
        }
    }

    /// What a worker that was just reaped has left in its process group.
    pub(super) fn left_by(&mut self, worker: Pid) -> Option<Left> {
        match group::exists(worker.0) {
            Ok(true) => self.left_in(&BTreeSet::from([worker.0]))?.remove(&worker.0),
            Ok(false) => None,
            Err(error) => {
                self.log(Level::Error, &format!("Cannot ask about group {worker}: {error}"));
                None
            }
        }
    }

    /// Looks at all groups that workers have left.
    pub(super) fn look_at_groups(&mut self) {
        let groups: BTreeSet<i32> = self.state.leftovers.keys().map(|group| group.0).collect();
        let mut left = match groups.iter().all(|group| matches!(group::exists(*group), Ok(false))) {
            true => BTreeMap::new(),
            false => match self.left_in(&groups) {
                Some(left) => left,
                // They are looked at again in a second.
                None => return,
            },
        };
        for group in groups {
            let left = left.remove(&group);
            self.events.push_back(Event::GroupSeen { group: Pid(group), left });
        }
    }

    /// What runs in these groups; `None` if that cannot be found out.
    fn left_in(&mut self, groups: &BTreeSet<i32>) -> Option<BTreeMap<i32, Left>> {
        let members = match group::leftovers(groups) {
            Ok(members) => members,
            Err(error) => {
                if !std::mem::replace(&mut self.cannot_look, true) {
                    let message = format!("Cannot see what workers leave running: {error}");
                    self.log(Level::Info, &message);
                }
                return None;
            }
        };
        let mut left = BTreeMap::new();
        for member in members {
            let program = member.name.to_str().map(str::to_owned);
            let none = Left { count: 0, program, is_suspended: false };
            let left = left.entry(member.group).or_insert(none);
            left.count = left.count.saturating_add(1);
            left.is_suspended |= member.state == 'T';
        }
        Some(left)
    }

    /// Names the processes that stay behind when the master leaves.
    pub(super) fn name_those_left(&mut self) {
        // Nothing to do about an error: the master leaves.
        let Ok(children) = group::children() else { return };
        if children.is_empty() {
            return;
        }
        let name = |it: &Member| format!("{} ({})", it.pid, it.name.to_string_lossy());
        let named: Vec<String> = children.iter().take(NAMED_MAX).map(name).collect();
        let more = if children.len() > NAMED_MAX { ", ..." } else { "" };
        let message =
            format!("Processes that run on: {}: {}{more}", children.len(), named.join(", "));
        self.log(Level::Info, &message);
    }
}
