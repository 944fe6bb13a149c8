//! What the rules must remember, kept independently of the master: which code serves and which
//! would again, how many workers were promised to serve, who waits for a last line, and how starts
//! have fared lately.

mod stops;

use std::time::Duration;

use einhorn::decide::{Action, Event, next_deadline};
use einhorn::outcome::Outcome;
use einhorn::protocol::Reply;
use einhorn::scalar::Scalar;
use einhorn::state::{ConnectionId, Generation, Monotonic, State, Waiter};

use super::rules::{Broken, ensure, same, starts};
use super::step::{Step, count, is_serving, number};

#[derive(Default)]
pub(super) struct Ledger {
    /// The code that is meant to serve, the newest that ever was, and that which serves again if
    /// the roll-out fails.
    generation: Generation,
    newest: Generation,
    from: Option<Generation>,
    /// How many served when the last roll-out began, less what the target and deaths took since.
    promise: Option<u32>,
    /// Who is owed a last line.
    waiting: Vec<Whom>,
    /// When a worker was last started, or a start last failed.
    last_start_at: Monotonic,
    /// The immediate starts since the target last changed, roll-outs left aside.
    immediate: Vec<Monotonic>,
    /// Who was asked to stop, and how.
    stops: stops::Stops,
    /// How many old workers were killed in the last upgrade instead of draining.
    killed_count: u32,
    /// When the last roll-out that succeeded was over.
    done_at: Monotonic,
}

/// A request, by what its replies carry: whose it is, its id, and whether it wants events.
pub(super) type Whom = (ConnectionId, Option<Scalar>, bool);

pub(super) fn to_whom(connection: ConnectionId, reply: &Reply) -> Whom {
    (connection, reply.request_id.clone(), reply.event.is_some())
}

pub(super) fn who_waits(waiter: &Waiter) -> Whom {
    (waiter.connection, waiter.request_id.clone(), waiter.wants_events)
}

/// Each takes a step in, and checks it; what it checks, the table of `rules` says.
impl Ledger {
    pub(super) fn generations(&mut self, step: &Step) -> Broken {
        if step.begins_rollout() {
            self.from = self.from.or(Some(self.generation));
            self.newest.0 += 1;
            self.generation = self.newest;
        } else if let Some(outcome) = step.rollout_ended() {
            let from = self.from.take().expect("there was one");
            if outcome != Outcome::Done && step.after.stopping.is_none() {
                self.generation = from;
            }
        }
        let State { generation, newest_generation, rollout, .. } = step.after;
        let known = (*generation, *newest_generation, rollout.as_ref().map(|rollout| rollout.from));
        same("the codes", &known, &(self.generation, self.newest, self.from))
    }

    pub(super) fn waiting(&mut self, step: &Step) -> Broken {
        let is_silent = matches!(step.command(), Some("worker:ack" | "worker:ping"));
        match step.event {
            Event::Closed { connection } => {
                self.waiting.retain(|(whose, ..)| whose != connection);
            }
            Event::Requested { connection, request, .. } if !is_silent => {
                let request = request.as_ref().ok();
                let id = request.and_then(|request| request.id.clone());
                self.waiting.push((*connection, id, request.is_some_and(|r| r.wants_events)));
            }
            _ => {}
        }
        for action in step.actions {
            let (Action::Reply { connection, reply } | Action::Report { connection, reply, .. }) =
                action
            else {
                continue;
            };
            let whom = to_whom(*connection, reply);
            let Some(index) = self.waiting.iter().position(|waiting| *waiting == whom) else {
                return Err(format!("nobody waits for {reply:?}"));
            };
            if !reply.wait {
                self.waiting.remove(index);
            }
        }
        let waiting: Vec<Whom> = step.after.waiters.iter().map(who_waits).collect();
        // Two may look the same.
        let count = |all: &[Whom], whom| all.iter().filter(|other| *other == whom).count();
        let is_same = |whom| count(&waiting, whom) == count(&self.waiting, whom);
        ensure(waiting.len() == self.waiting.len() && waiting.iter().all(is_same), || {
            format!("{waiting:?} wait, and not {:?}", self.waiting)
        })
    }

    pub(super) fn promise(&mut self, step: &Step) -> Broken {
        let (serving, target) = (count(step.after, is_serving), step.after.config.target);
        if step.after.stopping.is_some() {
            self.promise = None;
        }
        if step.begins_rollout() {
            self.promise = Some(serving);
        }
        let Some(promise) = &mut self.promise else { return Ok(()) };
        if step.ended().is_some() || matches!(step.event, Event::Suspended { .. }) {
            *promise = (*promise).min(serving);
        }
        if step.is_turn() {
            *promise = (*promise).min(target);
        }
        let promised = (*promise).min(target);
        if step.after.rollout.is_none() && step.after.old_workers().next().is_none() {
            self.promise = None;
        }
        ensure(serving >= promised, || {
            format!("{serving} serve in an upgrade that was to keep {promised}")
        })
    }

    pub(super) fn starts(&mut self, step: &Step) -> Broken {
        let (before, after) = (step.before, step.after);
        if before.config.target != after.config.target {
            self.immediate.clear();
        }
        if matches!(step.event, Event::Spawned { .. } | Event::SpawnFailed { .. }) {
            self.last_start_at = step.now;
        }
        let has_failed = step.is_turn() && step.rollout_ended().is_some_and(|o| o != Outcome::Done);
        let first_count = before.cold_start_count.saturating_sub(after.cold_start_count);
        let first_count = if has_failed { 0 } else { first_count };
        let later_count = number(step.starts()).saturating_sub(first_count);
        if later_count == 0 || (after.early_death_count == 0 && after.rollout.is_some()) {
            return Ok(());
        }
        if after.early_death_count > 0 {
            let due_at = self.last_start_at + back_off(after);
            self.last_start_at = step.now;
            return ensure(due_at <= step.now && later_count == 1, || {
                format!("{later_count} starts where one is due at {due_at:?}")
            });
        }
        self.immediate.extend((0..later_count).map(|_| step.now));
        for (count, began) in (1..).zip(self.immediate.iter().rev()) {
            let span = step.now.since(*began);
            let at_pace = span.as_nanos() / pace(after).as_nanos();
            let most = u128::from(2 * after.config.target) + at_pace;
            ensure(count <= most, || format!("{count} starts in {span:?}, not {most}"))?;
        }
        Ok(())
    }

    pub(super) fn the_missing_come(&mut self, step: &Step) -> Broken {
        let state = step.after;
        let Some(generation) = starts::wanted(state).filter(|_| step.is_working_turn()) else {
            return Ok(());
        };
        let due_at = match state.early_death_count {
            0 => step.now + pace(state),
            _ => (self.last_start_at + back_off(state)).max(step.now),
        };
        // Its clock is rounded otherwise.
        let wakes = next_deadline(state).is_some_and(|at| at.0 <= due_at.0 + 1000);
        ensure(wakes || starts::is_held_up(state, generation), || {
            format!("one of {generation:?} is missing, and due at {due_at:?}")
        })
    }
}

/// `seconds × 1.5^deaths`, at most half a minute.
fn back_off(state: &State) -> Duration {
    let mut seconds = state.config.respawn_interval.as_secs_f64();
    for _ in 0..state.early_death_count {
        seconds = (seconds * 1.5).min(30.0);
    }
    // Rounded otherwise than the master does.
    Duration::from_secs_f64(seconds.min(30.0)).saturating_sub(Duration::from_nanos(100))
}

/// Half a second a worker, and never more than twenty workers a second.
fn pace(state: &State) -> Duration {
    (Duration::from_millis(500) / state.config.target).max(Duration::from_millis(50))
}
