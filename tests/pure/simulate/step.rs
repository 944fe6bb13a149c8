//! One step of the master, as the rules look at it.

use einhorn::decide::{Action, Event};
use einhorn::outcome::Outcome;
use einhorn::state::{Generation, Monotonic, Pid, Signal, Slot, State, Worker};

/// What the master knew, what happened, what it did about that, and what it knows now.
pub(super) struct Step<'s> {
    pub(super) now: Monotonic,
    pub(super) before: &'s State,
    pub(super) event: &'s Event,
    pub(super) actions: &'s [Action],
    pub(super) after: &'s State,
    /// Workers that live on, as they were and as they are.
    pub(super) survivors: Vec<(Pid, &'s Worker, &'s Worker)>,
    /// Those of them of whom something is known that was not.
    pub(super) changed: Vec<(Pid, &'s Worker, &'s Worker)>,
}

impl<'s> Step<'s> {
    pub(super) fn new(
        now: Monotonic,
        before: &'s State,
        event: &'s Event,
        actions: &'s [Action],
        after: &'s State,
    ) -> Step<'s> {
        let known = after.workers.iter();
        let survivors: Vec<(Pid, &Worker, &Worker)> =
            known.filter_map(|(pid, now)| Some((*pid, before.workers.get(pid)?, now))).collect();
        let changed = survivors.iter().filter(|(_, before, now)| before != now).copied().collect();
        Step { now, before, event, actions, after, survivors, changed }
    }

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

    /// Those of whom this holds since this step.
    pub(super) fn newly(&self, is: fn(&Worker) -> bool) -> impl Iterator<Item = (Pid, &'s Worker)> {
        let newly = self.changed.iter().filter(move |(_, before, now)| is(now) && !is(before));
        newly.map(|(pid, _, now)| (*pid, *now))
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

    /// Whether a worker that has just ended had been up, by its timer or its ACK.
    pub(super) fn was_up(&self, worker: &Worker) -> bool {
        let due_at = worker.ack_due_at(self.before.config.ack_mode);
        worker.is_acked() || due_at.is_some_and(|at| at <= self.now)
    }

    /// Whether a roll-out begins; it may take the place of another.
    pub(super) fn begins_rollout(&self) -> bool {
        let kind = self.before.reexec.and_then(|reexec| reexec.kind.rollout());
        matches!(self.event, Event::Adopted { .. }) && kind.is_some()
    }

    /// How the roll-out ended, if it did.
    pub(super) fn rollout_ended(&self) -> Option<Outcome> {
        let is_over = self.after.rollout.is_none() || self.begins_rollout();
        let has_ended = self.before.rollout.is_some() && is_over;
        has_ended.then(|| self.after.last_upgrade.as_ref().map(|last| last.outcome)).flatten()
    }
}

/// Whether a worker was told to go.
pub(super) fn is_going(worker: &Worker) -> bool {
    worker.is_stopping()
}

/// How many workers there are of which this holds.
pub(super) fn count(state: &State, is: impl Fn(&Worker) -> bool) -> u32 {
    number(state.workers.values().filter(|worker| is(worker)))
}

/// How many are ordered of a code for which this holds.
pub(super) fn ordered(state: &State, is: impl Fn(Generation) -> bool) -> u32 {
    number(state.ordered.values().filter(|generation| is(**generation)))
}

/// How many serve: up, and not told to go.
pub(super) fn serving(state: &State) -> u32 {
    count(state, |worker| worker.is_acked() && !is_going(worker))
}

/// How many of the code that is meant to serve live or are ordered. Those that were told to go
/// count as long as they live, unless a roll-out that failed has told them: they may drain for
/// hours, and somebody is wanted in their place.
pub(super) fn present(state: &State) -> u32 {
    let is_current = |generation| generation == state.generation;
    let has_gone_back = state.newest_generation > state.generation;
    let counts =
        |worker: &Worker| is_current(worker.generation) && !(has_gone_back && is_going(worker));
    count(state, counts) + ordered(state, is_current)
}

/// How many of other code stay or are ordered.
pub(super) fn others(state: &State) -> u32 {
    let is_other = |generation| generation != state.generation;
    count(state, |worker| is_other(worker.generation) && !is_going(worker))
        + ordered(state, is_other)
}

/// How many stay or are ordered, whatever their code.
pub(super) fn staying(state: &State) -> u32 {
    count(state, |worker| !is_going(worker)) + ordered(state, |_| true)
}

/// How many of a code are ordered, or neither up nor on their way out.
pub(super) fn unacked(state: &State, generation: Generation) -> u32 {
    let waits = |worker: &Worker| !worker.is_acked() && !is_going(worker);
    count(state, |worker| waits(worker) && worker.generation == generation)
        + ordered(state, |ordered| ordered == generation)
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
