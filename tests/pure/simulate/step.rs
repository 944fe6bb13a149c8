//! One step of the master, as the rules look at it.

use einhorn::decide::{Action, Event};
use einhorn::outcome::Outcome;
use einhorn::state::{AckMode, Generation, Monotonic, Pid, Signal, Slot, State, Worker};

use super::world::World;

/// What the master knew, what happened, what it did about that, and what it knows now.
pub(super) struct Step<'s> {
    pub(super) now: Monotonic,
    pub(super) before: &'s State,
    pub(super) event: &'s Event,
    pub(super) actions: &'s [Action],
    pub(super) after: &'s State,
    /// In which the actions were carried out.
    pub(super) world: &'s World,
}

impl<'s> Step<'s> {
    pub(super) fn is_turn(&self) -> bool {
        *self.event == Event::Turn
    }

    /// A turn of a master that is not on its way out.
    pub(super) fn is_working_turn(&self) -> bool {
        self.is_turn() && self.after.stopping.is_none()
    }

    /// The command of a request that was understood so far.
    pub(super) fn command(&self) -> Option<&'s str> {
        match self.event {
            Event::Requested { request: Ok(request), .. } => request.command.as_deref(),
            _ => None,
        }
    }

    /// Who is started, and of which code.
    pub(super) fn starts(&self) -> impl Iterator<Item = (Slot, Generation)> {
        self.actions.iter().filter_map(|action| match action {
            Action::Spawn { slot, generation } => Some((*slot, *generation)),
            _ => None,
        })
    }

    /// Who gets which signal.
    pub(super) fn signals(&self) -> impl Iterator<Item = (Pid, Signal)> {
        self.actions.iter().filter_map(|action| match action {
            Action::Signal { pid, signal } => Some((*pid, *signal)),
            _ => None,
        })
    }

    /// Those who get this signal.
    pub(super) fn sent(&self, signal: Signal) -> Vec<Pid> {
        let mut sent: Vec<Pid> =
            self.signals().filter(|(_, sent)| *sent == signal).map(|(pid, _)| pid).collect();
        sent.sort_unstable();
        sent
    }

    /// Workers that live on, as they were and as they are.
    pub(super) fn survivors(&self) -> impl Iterator<Item = (Pid, &'s Worker, &'s Worker)> {
        let known = self.after.workers.iter();
        known.filter_map(|(pid, now)| Some((*pid, self.before.workers.get(pid)?, now)))
    }

    /// Those of them of whom this holds since this step.
    pub(super) fn newly(&self, is: fn(&Worker) -> bool) -> impl Iterator<Item = (Pid, &'s Worker)> {
        let newly = self.survivors().filter(move |(_, before, now)| is(now) && !is(before));
        newly.map(|(pid, _, now)| (pid, now))
    }

    /// The worker that has just ended.
    pub(super) fn ended(&self) -> Option<&'s Worker> {
        match self.event {
            Event::Exited { pid, .. } => self.before.workers.get(pid),
            _ => None,
        }
    }

    /// The same, if nobody had told it to.
    pub(super) fn died(&self) -> Option<&'s Worker> {
        self.ended().filter(|worker| !worker.is_stopping() && self.before.stopping.is_none())
    }

    /// Whether a roll-out begins; it may take the place of another.
    pub(super) fn begins_rollout(&self) -> bool {
        let kind = self.before.reexec.and_then(|reexec| reexec.kind.rollout());
        matches!(self.event, Event::Adopted { .. }) && kind.is_some()
    }

    /// Whether its timer says that a worker is up now, which runs as long as the worker does.
    pub(super) fn has_timer_ended(&self, worker: &Worker) -> bool {
        let runs = !worker.is_acked() && worker.suspension.current.is_none();
        match self.before.config.ack_mode {
            AckMode::Timer(span) => {
                runs && worker.spawned_at + span + worker.suspension.total <= self.now
            }
            AckMode::Manual => false,
        }
    }

    /// Whether this step tells how an upgrade ended that had come to a roll-out.
    pub(super) fn tells_the_end(&self) -> bool {
        let was_on = self.before.rollout.is_some() || self.before.ending_upgrade.is_some();
        let is_over = self.after.rollout.is_none() || self.begins_rollout();
        was_on && is_over && self.after.ending_upgrade.is_none()
    }

    /// How the roll-out ended, if it did. How an upgrade went that succeeded may be told later.
    pub(super) fn rollout_ended(&self) -> Option<Outcome> {
        let is_over = self.after.rollout.is_none() || self.begins_rollout();
        let has_ended = self.before.rollout.is_some() && is_over;
        let told = self.after.last_upgrade.as_ref().map(|last| last.outcome);
        let told = told.filter(|_| self.after.ending_upgrade.is_none());
        let outcome = told.filter(|outcome| *outcome != Outcome::Killed).unwrap_or(Outcome::Done);
        has_ended.then_some(outcome)
    }
}

// What `State` is asked by the decisions is worked out here once more, in another way.

/// How many workers there are of which this holds.
pub(super) fn count(state: &State, is: impl Fn(&Worker) -> bool) -> u32 {
    number(state.workers.values().filter(|worker| is(worker)))
}

/// The same, and how many are ordered of the codes for which the other holds.
pub(super) fn with_ordered(
    state: &State,
    is: impl Fn(&Worker) -> bool,
    is_code: impl Fn(Generation) -> bool,
) -> u32 {
    let ordered = state.ordered.values().filter(|generation| is_code(**generation));
    count(state, |worker| is_code(worker.generation) && is(worker)) + number(ordered)
}

/// Whether it could serve: it does unless it was told to go.
pub(super) fn is_up(worker: &Worker) -> bool {
    worker.is_acked() && worker.suspension.current.is_none()
}

pub(super) fn is_serving(worker: &Worker) -> bool {
    is_up(worker) && !worker.is_stopping()
}

/// How many stay or are ordered, whatever their code.
pub(super) fn staying(state: &State) -> u32 {
    with_ordered(state, |worker| !worker.is_stopping(), |_| true)
}

/// Whether as many serve as are wanted, and no more live: of the surplus nothing is left.
pub(super) fn has_settled(state: &State) -> bool {
    let target = state.config.target;
    let leaves = |worker: &Worker| worker.generation == state.generation && worker.is_stopping();
    count(state, is_serving) == target && staying(state) == target && !any_left(state, leaves)
}

/// Whether there are such workers, or there is what one has left that is told to go too.
pub(super) fn any_left(state: &State, is: impl Fn(&Worker) -> bool) -> bool {
    let mut leftovers = state.leftovers.values().map(|left| &left.worker);
    state.workers.values().any(&is) || leftovers.any(|left| left.is_stopping() && is(left))
}

/// Whether the first new worker has not passed yet.
pub(super) fn has_canary(state: &State) -> bool {
    state.rollout.as_ref().is_some_and(|rollout| rollout.is_canary())
}

/// Whether as many attempts as `-r` allows have failed in a row.
pub(super) fn has_given_up(state: &State) -> bool {
    state.config.retries.is_some_and(|retries| state.early_death_count >= retries)
}

pub(super) fn number(items: impl Iterator) -> u32 {
    u32::try_from(items.count()).expect("a count fits")
}
