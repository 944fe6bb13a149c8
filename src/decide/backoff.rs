//! Deaths before an ACK: how long they make the next start wait, and when they are too many
//! (behaviour.md section 4).

use std::time::Duration;

use crate::decide::turn::Turn;
use crate::state::Generation;

/// The longest that the back-off waits (behaviour.md section 4).
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// How much longer the back-off waits with each further death (behaviour.md section 4).
const BACKOFF_FACTOR: f64 = 1.5;

/// How long to wait after a start, with this many early deaths in a row.
pub fn back_off(interval: Duration, early_death_count: u32) -> Duration {
    // Not `powf`, which would link libm for this one line.
    let factor = BACKOFF_FACTOR.powi(i32::try_from(early_death_count).unwrap_or(i32::MAX));
    let seconds = interval.as_secs_f64() * factor;
    Duration::from_secs_f64(seconds.min(BACKOFF_MAX.as_secs_f64()))
}

/// One more death, or something as bad, before an ACK, of code that is started now. The last
/// attempt of all is the canary's: old workers that die beside it say nothing of the new code.
pub(super) fn count_early_death(turn: &mut Turn, generation: Generation) {
    let count = turn.state.early_death_count.saturating_add(1);
    let is_last = turn.state.config.retries == Some(count);
    if is_last && generation != turn.state.generation {
        return;
    }
    turn.state.early_death_count = count;
    if is_last {
        count_attempts(turn);
    }
}

/// Gives up when as many attempts as may be have failed, and tells whoever waits.
pub(super) fn count_attempts(turn: &mut Turn) {
    let count = turn.state.early_death_count;
    // In a roll-out the old code is what is started next.
    if turn.state.has_given_up() && turn.state.rollout.is_none() {
        turn.error(format!(
            "Giving up after {count} consecutive deaths before an ACK (--retries): nothing more \
             is started until `config` raises retries, or an upgrade brings other code"
        ));
    }
}
