//! Early deaths, which are deaths before an ACK: how long they delay the next start, and when there
//! are too many of them (behaviour.md section 4).

use std::time::Duration;

use crate::decide::turn::Turn;
use crate::state::Generation;

/// The longest back-off delay (behaviour.md section 4).
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// The factor by which the back-off delay grows with each early death (behaviour.md section 4).
const BACKOFF_FACTOR: f64 = 1.5;

/// Returns the delay after the last start, given the number of consecutive early deaths.
pub fn back_off(interval: Duration, early_death_count: u32) -> Duration {
    // `powf` would link libm for this one line.
    let factor = BACKOFF_FACTOR.powi(i32::try_from(early_death_count).unwrap_or(i32::MAX));
    let seconds = interval.as_secs_f64() * factor;
    Duration::from_secs_f64(seconds.min(BACKOFF_MAX.as_secs_f64()))
}

/// Counts an early death, or a failed start, of a generation that may still be started. In a
/// roll-out only the canary can use up the last attempt: old workers that die beside it say nothing
/// about the new code.
pub(super) fn count_early_death(turn: &mut Turn, generation: Generation) {
    let count = turn.state.early_death_count.saturating_add(1);
    let is_last = turn.state.config.retries == Some(count);
    if is_last && generation != turn.state.generation {
        return;
    }
    turn.state.early_death_count = count;
    if is_last {
        log_if_given_up(turn);
    }
}

/// Logs that the master gives up, once `--retries` attempts have failed.
pub(super) fn log_if_given_up(turn: &mut Turn) {
    let count = turn.state.early_death_count;
    // During a roll-out the master does not give up: the old generation is restored instead.
    if turn.state.has_given_up() && turn.state.rollout.is_none() {
        turn.error(format!(
            "Giving up after {count} consecutive deaths before an ACK (--retries): nothing more \
             is started until `config` raises retries, or an upgrade brings other code"
        ));
    }
}
