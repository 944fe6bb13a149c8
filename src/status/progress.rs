//! How far something is, in the words and numbers that events and the document share.

use std::time::Duration;

use crate::protocol::{NewsFailure, NewsStage, Numbers};
use crate::state::{EndedUpgrade, Failure, Monotonic, Now, Stage, State};

/// What goes on besides serving, if anything does.
pub fn stage(state: &State) -> Option<NewsStage> {
    let reexec = state.reexec.map(|reexec| match reexec.stage {
        Stage::Preflight { .. } => NewsStage::Preflight,
        Stage::HandingOver => NewsStage::HandingOver,
    });
    let rollout = state.rollout.as_ref().map(|rollout| match rollout.is_canary() {
        true => NewsStage::Canary,
        false => NewsStage::Rollout,
    });
    let stopping = state.stopping.map(|_| NewsStage::Stopping);
    let is_short = state.current_capacity() < state.config.target;
    let is_back = state.generation == state.newest_generation || !is_short;
    let is_restoring = state.old_workers().next().is_some() || !is_back;
    let restoring = || is_restoring.then_some(NewsStage::Restoring);
    stopping.or(reexec).or(rollout).or_else(restoring)
}

/// How far that is, or how many workers there are.
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

/// Since when it goes on: since it was asked for, as far as that is known.
fn elapsed(state: &State, stage: NewsStage, now: Now) -> Duration {
    let since = |at: Monotonic| now.monotonic.since(at);
    match stage {
        NewsStage::Preflight | NewsStage::HandingOver => {
            state.reexec.map(|reexec| since(reexec.asked_at))
        }
        NewsStage::Canary | NewsStage::Rollout => {
            state.rollout.as_ref().map(|rollout| since(rollout.asked_at))
        }
        NewsStage::Restoring => state.last_upgrade.as_ref().map(|ended| took(ended, now)),
        NewsStage::Stopping => {
            let told = state.workers.values().filter_map(|worker| worker.stop_requested_at);
            told.min().map(since)
        }
        NewsStage::Settling => None,
    }
    .unwrap_or_default()
}

/// How long ago an upgrade was asked for that has ended. Only the calendar knows when it did.
fn took(ended: &EndedUpgrade, now: Now) -> Duration {
    let ago = u64::try_from(now.realtime.0.saturating_sub(ended.ended_on.0)).unwrap_or(0);
    ended.took.saturating_add(Duration::from_nanos(ago))
}

/// A new worker that failed, as it is told.
pub fn failure(failure: &Failure) -> NewsFailure {
    NewsFailure {
        pid: failure.pid.map(|pid| pid.0),
        slot: failure.slot.0,
        what: failure.what.clone(),
        age_ms: milliseconds(failure.age),
        last_words: failure.last_words.clone(),
    }
}

/// A span as it is told.
pub fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
