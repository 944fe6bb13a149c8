//! The last events of a run and what was done about them, for the report of a failure.

use std::collections::VecDeque;

use einhorn::decide::{Action, Event};

/// How many events a report shows.
const SHOWN_MAX: usize = 30;

/// How much of one event or action a report shows; a state dump is longer.
const WIDTH_MAX: usize = 240;

/// What happened lately.
#[derive(Default)]
pub(super) struct History(VecDeque<Entry>);

struct Entry {
    now: u64,
    event: Event,
    actions: Vec<Action>,
}

impl History {
    /// Notes an event before it is told.
    pub(super) fn event(&mut self, now: u64, event: &Event) {
        if self.0.len() == SHOWN_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Entry { now, event: event.clone(), actions: Vec::new() });
    }

    /// Notes what was done about it.
    pub(super) fn actions(&mut self, actions: Vec<Action>) {
        if let Some(entry) = self.0.back_mut() {
            entry.actions = actions;
        }
    }

    /// A line an event, and one below it for every action.
    pub(super) fn report(&self) -> String {
        let mut report = String::new();
        for Entry { now, event, actions } in &self.0 {
            report += &format!("{:>20}ns {}\n", now, short(&format!("{event:?}")));
            for action in actions {
                report += &format!("{:>22} -> {}\n", "", short(&format!("{action:?}")));
            }
        }
        report
    }
}

fn short(text: &str) -> String {
    text.chars().take(WIDTH_MAX).collect()
}
