//! The health of the master, and the reasons if it is degraded.

use crate::state::{State, Worker};
use crate::status::document::Warning;
use crate::status::kinds::{Health, WarningKind};
use crate::status::warnings::suspended;

/// The health of the master.
pub struct Condition {
    /// How many workers are serving.
    pub serving_count: u32,
    /// Whether those are enough, and the master is staying.
    pub health: Health,
    /// Why the health is not ok.
    pub reasons: Vec<String>,
    /// Workers that are suspended although the health is ok.
    pub warnings: Vec<Warning>,
    /// Other things worth knowing.
    pub notes: Vec<String>,
}

/// Determines the health: ok if the target number of workers is serving. During a roll-out, workers
/// of every generation count, because old ones serve until new ones do; otherwise only those of the
/// current generation.
pub fn condition(state: &State) -> Condition {
    let target = state.config.target;
    let (serving_count, of) = match (&state.rollout, state.old_workers().next()) {
        (Some(_), _) => (state.capacity(), String::new()),
        (None, None) => (state.current_capacity(), String::new()),
        (None, Some(_)) => {
            (state.current_capacity(), format!(" of generation {}", state.generation.0))
        }
    };
    let is_short = serving_count < target;
    let mut reasons = Vec::new();
    let mut warnings = Vec::new();
    let mut notes = Vec::new();
    if state.stopping.is_some() {
        reasons.push("the master is going down".to_owned());
    }
    if is_short {
        reasons.push(format!("{serving_count} of {target} workers{of} are up"));
    }
    if state.early_death_count > 0 {
        let count = state.early_death_count;
        let end =
            if state.has_given_up() { "; no more workers are started (--retries)" } else { "" };
        let streak = format!("consecutive deaths before an ACK: {count}{end}");
        if is_short { &mut reasons } else { &mut notes }.push(streak);
    }
    let suspended = suspended(state);
    match is_short {
        true => reasons.extend(suspended),
        false => warnings.extend(suspended.map(|message| {
            let kind = WarningKind::Suspended;
            Warning { kind, message }
        })),
    }
    notes.extend(missing_release(state));
    let health = if reasons.is_empty() { Health::Ok } else { Health::Degraded };
    Condition { serving_count, health, reasons, warnings, notes }
}

/// A note if workers run another release than their generation began with, which is gone.
fn missing_release(state: &State) -> Option<String> {
    let expected = |worker: &Worker| state.directory_of(worker.generation);
    let is_inherited = |worker: &&Worker| {
        let expected = expected(worker);
        worker.directory.is_some() && expected.is_some() && expected != worker.directory.as_deref()
    };
    let count = state.workers.values().filter(is_inherited).count();
    let gone = state.workers.values().find(is_inherited).and_then(expected)?;
    Some(format!("workers that run in another release because {} is gone: {count}", gone.display()))
}
