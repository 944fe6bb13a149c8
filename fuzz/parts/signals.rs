//! What becomes of the signals of an input of `decide_step`, and of the process groups that get
//! them.

use std::collections::{BTreeMap, BTreeSet};

use einhorn::decide::{Action, Event, Inspection, Left};
use einhorn::state::{Disposition, ExitStatus, Pid, State};

/// A process was reaped.
pub(super) fn exited(pid: Pid, status: ExitStatus, left: Option<Left>) -> Event {
    Event::Exited { pid, status, last_words: b"\x1b\xff said\n".to_vec(), left }
}

/// The processes that are not as all others, and the groups that workers have left.
#[derive(Default)]
pub(super) struct Signals {
    /// Those that do with signals what was said; the others have a handler.
    told: BTreeMap<Pid, Option<Disposition>>,
    /// Those that may not be sent any.
    refuse: BTreeSet<Pid>,
    /// How many processes there are in each group that was left.
    pub(super) groups: BTreeMap<Pid, u32>,
}

impl Signals {
    /// From now on a process does this with signals: `forbid` and `permit`, `blocked`, `ignored`,
    /// `default` and `unknown`; with anything else it has a handler again.
    pub(super) fn tell(&mut self, pid: Pid, how: &str) {
        match how {
            "forbid" => drop(self.refuse.insert(pid)),
            "permit" => drop(self.refuse.remove(&pid)),
            "blocked" => drop(self.told.insert(pid, Some(Disposition::Blocked))),
            "ignored" => drop(self.told.insert(pid, Some(Disposition::Ignored))),
            "default" => drop(self.told.insert(pid, Some(Disposition::Default))),
            "unknown" => drop(self.told.insert(pid, None)),
            _ => drop(self.told.remove(&pid)),
        }
    }

    /// A worker was reaped, and so many processes run on in its group, which is its number's as
    /// long as they do.
    pub(super) fn leave(&mut self, pid: Pid, count: u32) -> Option<Left> {
        self.told.remove(&pid);
        if count == 0 {
            self.refuse.remove(&pid);
            return None;
        }
        self.groups.insert(pid, count);
        Some(Left { count, program: Some("sleep".to_owned()), is_suspended: false })
    }

    /// The processes of a group have ended.
    pub(super) fn end(&mut self, group: Pid) {
        self.groups.remove(&group);
        self.refuse.remove(&group);
    }

    /// What the shell answers at once.
    pub(super) fn answers(&self, action: &Action, state: &State) -> Vec<Event> {
        match *action {
            Action::Signal { pid, signal } if self.refuse.contains(&pid) => {
                vec![Event::SignalFailed { pid, signal, why: "not permitted".to_owned() }]
            }
            Action::Signal { pid, signal } => {
                vec![Event::SignalSent { pid, signal, inspection: self.inspect(pid) }]
            }
            Action::Inspect { pid, signal } => {
                vec![Event::Inspected { pid, signal, inspection: self.inspect(pid) }]
            }
            Action::LookAtGroups => state.leftovers.keys().map(|group| self.look(*group)).collect(),
            _ => Vec::new(),
        }
    }

    fn inspect(&self, pid: Pid) -> Inspection {
        let disposition = self.told.get(&pid).copied().unwrap_or(Some(Disposition::Caught));
        Inspection { disposition, program: Some("web".to_owned()) }
    }

    fn look(&self, group: Pid) -> Event {
        let count = self.groups.get(&group).copied();
        Event::GroupSeen {
            group,
            left: count.map(|count| Left { count, program: None, is_suspended: false }),
        }
    }
}
