//! What the rules must remember, kept independently of the master: which code serves and which
//! would again, how many workers were promised to serve, who waits for a last line, and how starts
//! have fared lately.

use std::time::Duration;

use einhorn::decide::{Action, Event};
use einhorn::outcome::Outcome;
use einhorn::protocol::Reply;
use einhorn::scalar::Scalar;
use einhorn::state::{ConnectionId, Generation, Monotonic, State, Waiter};

use super::rules::{Broken, ensure};
use super::step::{Step, number, serving};

/// More immediate starts than twice the largest fleet are not remembered.
const REMEMBERED_MAX: usize = 200;

pub(super) struct Ledger {
    /// The code that is meant to serve.
    pub(super) generation: Generation,
    /// The newest that ever was.
    pub(super) newest: Generation,
    /// The code that serves again if the roll-out fails.
    pub(super) from: Option<Generation>,
    /// How many served when the last roll-out began, less what the target and deaths took since.
    promise: Option<u32>,
    /// Who is owed a last line.
    pub(super) waiting: Vec<Whom>,
    /// When a worker was last started, or a start last failed.
    last_start_at: Monotonic,
    /// The immediate starts since the target last changed, roll-outs left aside.
    immediate: Vec<Monotonic>,
}

/// A request, by what its replies carry.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Whom {
    pub(super) connection: ConnectionId,
    pub(super) id: Option<Scalar>,
    pub(super) wants_events: bool,
}

impl Whom {
    /// To whom a reply goes.
    pub(super) fn of(connection: ConnectionId, reply: &Reply) -> Whom {
        let (id, wants_events) = (reply.request_id.clone(), reply.event.is_some());
        Whom { connection, id, wants_events }
    }

    pub(super) fn who_waits(waiter: &Waiter) -> Whom {
        let Waiter { connection, request_id: id, wants_events, .. } = waiter.clone();
        Whom { connection, id, wants_events }
    }
}

impl Ledger {
    /// Of a master that has not started anybody yet.
    pub(super) fn new(state: &State) -> Ledger {
        Ledger {
            generation: state.generation,
            newest: state.newest_generation,
            from: None,
            promise: None,
            waiting: Vec::new(),
            last_start_at: Monotonic(0),
            immediate: Vec::new(),
        }
    }

    /// Takes in what happened.
    pub(super) fn follow(&mut self, step: &Step) -> Broken {
        self.follow_generations(step);
        self.follow_waiting(step)?;
        self.follow_promise(step)?;
        self.follow_starts(step)
    }

    /// Every roll-out is of a code that never was; one that does not go well goes back to the code
    /// that served before it, and before those whose place it took.
    fn follow_generations(&mut self, step: &Step) {
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
    }

    /// Each request has one last line, with its id; until then it may be told how it goes on.
    fn follow_waiting(&mut self, step: &Step) -> Broken {
        let is_silent = matches!(step.command(), Some("worker:ack" | "worker:ping"));
        match step.event {
            Event::Closed { connection } => {
                self.waiting.retain(|whom| whom.connection != *connection);
            }
            Event::Requested { connection, request, .. } if !is_silent => {
                let (connection, request) = (*connection, request.as_ref().ok());
                let id = request.and_then(|request| request.id.clone());
                let wants_events = request.is_some_and(|request| request.wants_events);
                self.waiting.push(Whom { connection, id, wants_events });
            }
            _ => {}
        }
        for action in step.actions {
            let (Action::Reply { connection, reply } | Action::Report { connection, reply, .. }) =
                action
            else {
                continue;
            };
            let whom = Whom::of(*connection, reply);
            // Of two that look the same the older one is told first.
            let Some(index) = self.waiting.iter().position(|waiting| *waiting == whom) else {
                return Err(format!("nobody waits for {reply:?}"));
            };
            if !reply.wait {
                self.waiting.remove(index);
            }
        }
        Ok(())
    }

    /// Those who serve are never fewer than when the roll-out began, deaths aside, nor than the
    /// target, if that is lower; nor until those who served before do again, if it failed.
    fn follow_promise(&mut self, step: &Step) -> Broken {
        let (serving, target) = (serving(step.after), step.after.config.target);
        if step.after.stopping.is_some() {
            self.promise = None;
        }
        if step.begins_rollout() {
            self.promise = Some(serving);
        }
        let Some(promise) = &mut self.promise else { return Ok(()) };
        if step.ended().is_some() {
            *promise = (*promise).min(serving);
        }
        if step.is_turn() {
            *promise = (*promise).min(target);
        }
        let promised = (*promise).min(target);
        ensure(serving >= promised, || {
            format!("{serving} serve in an upgrade that was to keep {promised}")
        })?;
        if step.after.rollout.is_none() && step.after.old_workers().next().is_none() {
            self.promise = None;
        }
        Ok(())
    }

    /// Starts that nobody waits for are at most twice the fleet at once, and then one a worker in
    /// half a second; after early deaths one starts at a time, each once the back-off is over.
    fn follow_starts(&mut self, step: &Step) -> Broken {
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
        if after.early_death_count > 0 && later_count > 0 {
            let due_at = self.last_start_at + back_off(after);
            ensure(due_at <= step.now && later_count == 1, || {
                format!("{later_count} starts where one is due at {due_at:?}")
            })?;
            self.last_start_at = step.now;
        } else if after.rollout.is_none() {
            self.immediate.extend((0..later_count).map(|_| step.now));
            let surplus = self.immediate.len().saturating_sub(REMEMBERED_MAX);
            self.immediate.drain(..surplus);
            for (count, began) in (1..).zip(self.immediate.iter().rev()) {
                let span = step.now.since(*began);
                let allowed =
                    u128::from(2 * after.config.target) + span.as_nanos() / pace(after).as_nanos();
                ensure(count <= allowed, || format!("{count} starts in {span:?}, not {allowed}"))?;
            }
        }
        Ok(())
    }

    /// The latest at which somebody is started who is missing, and whom no limit keeps away.
    pub(super) fn start_due_at(&self, step: &Step) -> Monotonic {
        match step.after.early_death_count {
            0 => step.now + pace(step.after),
            _ => self.last_start_at + back_off(step.after),
        }
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
