//! The last events of a run and what was done about them, for the report of a failure.

use std::collections::VecDeque;

use einhorn::decide::{Action, Event};

/// How many events a report shows.
const SHOWN_MAX: usize = 30;

/// How much of one event or action a report shows; a state dump is longer.
const WIDTH_MAX: usize = 240;

/// What happened lately, and when.
#[derive(Default)]
pub(super) struct History(VecDeque<(u64, Event, Vec<Action>)>);

impl History {
    pub(super) fn note(&mut self, now: u64, event: Event, actions: Vec<Action>) {
        self.0.push_back((now, event, actions));
        self.0.drain(..self.0.len().saturating_sub(SHOWN_MAX));
    }

    /// A line an event, and one below it for every action.
    pub(super) fn report(&self) -> String {
        let short = |text: String| text.chars().take(WIDTH_MAX).collect::<String>();
        let mut lines = Vec::new();
        for (now, event, actions) in &self.0 {
            lines.push(format!("{now:>20}ns {}", short(format!("{event:?}"))));
            lines.extend(actions.iter().map(|action| short(format!("{:>22} -> {action:?}", ""))));
        }
        lines.join("\n")
    }
}
