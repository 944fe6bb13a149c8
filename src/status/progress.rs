//! Stages and numbers that events and the document share.

use std::time::Duration;

use crate::protocol::{Numbers, ProgressStage, WorkerFailure};
use crate::state::{EndedUpgrade, Failure, Monotonic, Now, Stage, State};

/// The stage of the upgrade or other change in progress.
pub fn stage(state: &State) -> Option<ProgressStage> {
    let reexec = state.reexec.map(|reexec| match reexec.stage {
        Stage::Preflight { .. } => ProgressStage::Preflight,
        Stage::HandingOver => ProgressStage::HandingOver,
    });
    let rollout = state.rollout.as_ref().map(|rollout| match rollout.is_canary() {
        true => ProgressStage::Canary,
        false => ProgressStage::Rollout,
    });
    let ending = state.ending_upgrade.as_ref().map(|_| ProgressStage::Rollout);
    let stopping = state.stopping.map(|_| ProgressStage::Stopping);
    let is_short = state.current_capacity() < state.config.target;
    let is_back = state.generation == state.newest_generation || !is_short;
    let is_restoring = state.old_workers().next().is_some() || !is_back;
    let restoring = || is_restoring.then_some(ProgressStage::Restoring);
    stopping.or(reexec).or(rollout).or(ending).or_else(restoring)
}

/// Generation, worker counts, and the time since the change in progress was requested.
pub fn numbers(state: &State, now: Now) -> Numbers {
    Numbers {
        generation: state.generation.0,
        acked: state.current_capacity(),
        target: state.config.target,
        old_left: u32::try_from(state.old_workers().count()).unwrap_or(u32::MAX),
        failed: state.rollout.as_ref().map_or(0, |rollout| rollout.failure_count),
        elapsed_ms: stage(state).map_or(0, |stage| milliseconds(elapsed(state, stage, now))),
    }
}

/// The time since the change in progress was requested, or zero if that is not known.
fn elapsed(state: &State, stage: ProgressStage, now: Now) -> Duration {
    let since = |at: Monotonic| now.monotonic.since(at);
    match stage {
        ProgressStage::Preflight | ProgressStage::HandingOver => {
            state.reexec.map(|reexec| since(reexec.asked_at))
        }
        ProgressStage::Canary | ProgressStage::Rollout => {
            let rollout = state.rollout.as_ref().map(|rollout| since(rollout.asked_at));
            rollout.or(state.ending_upgrade.as_ref().map(|ending| ending.ended.took))
        }
        ProgressStage::Restoring => {
            state.last_upgrade.as_ref().map(|ended| since_request(ended, now))
        }
        ProgressStage::Stopping => {
            let requests = state.workers.values().filter_map(|worker| worker.stop_requested_at);
            requests.min().map(since)
        }
        ProgressStage::Draining | ProgressStage::Settling => None,
    }
    .unwrap_or_default()
}

/// The time since an upgrade that has ended was requested. Its end is known by the calendar only.
pub fn since_request(ended: &EndedUpgrade, now: Now) -> Duration {
    let ago = u64::try_from(now.realtime.0.saturating_sub(ended.ended_on.0)).unwrap_or(0);
    ended.took.saturating_add(Duration::from_nanos(ago))
}

/// A failure of a new worker, for events and the document.
pub fn failure(failure: &Failure) -> WorkerFailure {
    WorkerFailure {
        pid: failure.pid.map(|pid| pid.0),
        slot: failure.slot.0,
        what: failure.what.clone(),
        age_ms: milliseconds(failure.age),
        last_words: failure.last_words.clone(),
    }
}

/// A span in whole milliseconds, as in events and the document.
pub fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
