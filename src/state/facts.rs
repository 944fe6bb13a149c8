//! The master's state, and the queries that decisions are based on.

use std::collections::BTreeMap;
use std::path::Path;

use crate::state::{
    Config, ConnectionId, Deployment, EndedUpgrade, EndingUpgrade, Generation, Leftover, Listener,
    Monotonic, Pid, Realtime, Reexec, Rollout, Slot, UPGRADE_FAILURES_MIN, Waiter, Worker,
};

/// A client's connection.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Connection {
    /// The worker that `-g` gave it to; such a connection stays open after an ACK.
    pub given_to: Option<Pid>,
}

/// The master is stopping: it starts no more workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopping {
    /// The exit status once all workers are gone.
    pub exit_code: i32,
}

/// The whole state of the master. Only `decide` changes it.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// The configuration.
    pub config: Config,
    /// The master's own pid.
    pub master_pid: Pid,
    /// The default of `--max-unacked`; at least 1.
    pub processor_count: u32,
    /// In the order of the command line: `-b` first, then `srv:` words.
    pub listeners: Vec<Listener>,
    /// The workers that have not been reaped yet.
    pub workers: BTreeMap<Pid, Worker>,
    /// What reaped workers have left running in their process groups, by the group's number.
    pub leftovers: BTreeMap<Pid, Leftover>,
    /// Workers that have been ordered: `decide` has asked for their start, and its outcome is
    /// pending.
    pub ordered: BTreeMap<Slot, Generation>,
    /// The open connections to the command socket.
    pub connections: BTreeMap<ConnectionId, Connection>,
    /// The current generation, which is meant to serve: that of a roll-out, until it fails.
    pub generation: Generation,
    /// The highest generation number assigned so far; above [`State::generation`] after a failed
    /// roll-out.
    pub newest_generation: Generation,
    /// How many times the master has re-executed itself; the original's `:generation:`.
    pub reexec_count: u32,
    /// How many workers of the first start, which starts them all at once, are not ordered yet.
    pub cold_start_count: u32,
    /// Consecutive early deaths, failed starts included; the next ACK ends the streak.
    pub early_death_count: u32,
    /// When a worker was last started or failed to start; the back-off delay runs from here.
    pub last_spawn_at: Option<Monotonic>,
    /// When a worker was last started successfully, as a calendar time.
    pub last_spawned_on: Option<Realtime>,
    /// The instant up to which replacements have used up their pace; see `decide::pool`.
    pub pace_used_until: Monotonic,
    /// Set once the master is stopping.
    pub stopping: Option<Stopping>,
    /// The master's re-exec in progress.
    pub reexec: Option<Reexec>,
    /// The roll-out in progress.
    pub rollout: Option<Rollout>,
    /// The upgrade whose new workers are up and whose end was not told yet.
    pub ending_upgrade: Option<EndingUpgrade>,
    /// How the last upgrade ended.
    pub last_upgrade: Option<EndedUpgrade>,
    /// The deployments of the generations that may still be started; empty without `--chdir` and
    /// `--env-file`.
    pub deployments: BTreeMap<Generation, Deployment>,
    /// The deployment of the generation that the upgrade in progress would begin.
    pub next_deployment: Option<Deployment>,
    /// How often workers of each slot exited without having been asked to.
    pub slot_deaths: BTreeMap<Slot, u32>,
    /// The generation of the last warning that a worker has no handler.
    pub warned_generation: Option<Generation>,
    /// Clients that are owed a final reply.
    pub waiters: Vec<Waiter>,
    /// When the master last re-executed itself.
    pub reexecuted_at: Option<Monotonic>,
    /// When an upgrade begins that a SIGHUP asked for too soon after the last re-exec.
    pub upgrade_due_at: Option<Monotonic>,
    /// When the last roll-out began, as a calendar time.
    pub last_upgraded_on: Option<Realtime>,
    /// A field that only the next release has; see the feature `next` in Cargo.toml.
    #[cfg(feature = "next")]
    pub note: Option<String>,
    /// Another one, which older releases can ignore.
    #[cfg(feature = "next")]
    pub hint: Option<String>,
}

impl State {
    /// The state before the first worker is started.
    pub fn new(
        config: Config,
        listeners: Vec<Listener>,
        master_pid: Pid,
        processor_count: u32,
    ) -> State {
        State {
            cold_start_count: config.target,
            config,
            master_pid,
            processor_count: processor_count.max(1),
            listeners,
            workers: BTreeMap::new(),
            leftovers: BTreeMap::new(),
            ordered: BTreeMap::new(),
            connections: BTreeMap::new(),
            generation: Generation(0),
            newest_generation: Generation(0),
            reexec_count: 0,
            early_death_count: 0,
            last_spawn_at: None,
            last_spawned_on: None,
            pace_used_until: Monotonic(0),
            stopping: None,
            reexec: None,
            rollout: None,
            ending_upgrade: None,
            last_upgrade: None,
            deployments: BTreeMap::new(),
            next_deployment: None,
            slot_deaths: BTreeMap::new(),
            warned_generation: None,
            waiters: Vec::new(),
            reexecuted_at: None,
            upgrade_due_at: None,
            last_upgraded_on: None,
            #[cfg(feature = "next")]
            note: None,
            #[cfg(feature = "next")]
            hint: None,
        }
    }

    /// How many unacked workers there may be while workers are replaced gradually.
    pub fn max_unacked(&self) -> u32 {
        self.config.max_unacked.unwrap_or(self.processor_count)
    }

    /// A worker that was not reaped yet, or what a reaped one has left under its pid: whatever is
    /// stopped by the schedule.
    pub fn stoppable(&self, pid: Pid) -> Option<&Worker> {
        let leftover = || self.leftovers.get(&pid).map(|leftover| &leftover.worker);
        self.workers.get(&pid).or_else(leftover)
    }

    /// The same, to be changed.
    pub fn stoppable_mut(&mut self, pid: Pid) -> Option<&mut Worker> {
        let leftover = self.leftovers.get_mut(&pid).map(|leftover| &mut leftover.worker);
        self.workers.get_mut(&pid).or(leftover)
    }

    /// All of them.
    pub fn stoppables(&self) -> impl Iterator<Item = (Pid, &Worker)> {
        let leftovers = self.leftovers.iter().map(|(pid, leftover)| (*pid, &leftover.worker));
        self.workers.iter().map(|(pid, worker)| (*pid, worker)).chain(leftovers)
    }

    /// All of them, to be changed.
    pub fn stoppables_mut(&mut self) -> impl Iterator<Item = (Pid, &mut Worker)> {
        let leftovers = self.leftovers.iter_mut();
        let leftovers = leftovers.map(|(pid, leftover)| (*pid, &mut leftover.worker));
        self.workers.iter_mut().map(|(pid, worker)| (*pid, worker)).chain(leftovers)
    }

    /// Workers of other generations that were asked to stop.
    pub fn leaving_workers(&self) -> impl Iterator<Item = &Worker> {
        let is_leaving = |it: &&Worker| it.generation != self.generation && it.is_stopping();
        self.workers.values().filter(is_leaving)
    }

    /// Whether workers of other generations are still there, or are stopped in what they have left.
    pub fn is_draining(&self) -> bool {
        self.has_any_left(|worker| worker.generation != self.generation)
    }

    /// Whether there are such workers, or leftovers of them that the schedule still stops.
    pub fn has_any_left(&self, is_meant: impl Fn(&Worker) -> bool) -> bool {
        let mut leftovers = self.leftovers.values().map(|leftover| &leftover.worker);
        let is_stopped = |worker: &Worker| worker.stop_progress.is_some();
        self.workers.values().any(&is_meant) || leftovers.any(|it| is_stopped(it) && is_meant(it))
    }

    /// Workers of the current generation.
    pub fn current_workers(&self) -> impl Iterator<Item = (Pid, &Worker)> {
        self.workers
            .iter()
            .filter(|(_, worker)| worker.generation == self.generation)
            .map(|(pid, worker)| (*pid, worker))
    }

    /// How many workers of the current generation were ACKed, stopping ones included.
    pub fn acked_count(&self) -> u32 {
        count(self.current_workers().filter(|(_, worker)| worker.is_acked()))
    }

    /// Whether workers of this generation may be started: the current one, and while the canary is
    /// on trial also the one before it.
    pub fn is_startable(&self, generation: Generation) -> bool {
        let before = self.rollout.as_ref().filter(|rollout| rollout.is_canary());
        generation == self.generation || before.is_some_and(|rollout| rollout.from == generation)
    }

    /// How many workers of a generation are ordered or started, and neither ACKed nor stopping.
    pub fn unacked_count(&self, generation: Generation) -> u32 {
        let waits = |worker: &&Worker| {
            !worker.is_acked() && !worker.is_stopping() && worker.generation == generation
        };
        let ordered = self.ordered.values().filter(|ordered| **ordered == generation);
        count(self.workers.values().filter(waits)) + count(ordered)
    }

    /// How many more workers of the current generation there should be. Stopping workers count as
    /// present, so a slow drain never puts more processes on the machine than were asked for
    /// (behaviour.md section 4).
    pub fn missing_count(&self) -> u32 {
        self.config.target.saturating_sub(self.present_count())
    }

    /// How many workers of the current generation are ordered or running. After a failed roll-out,
    /// stopping workers do not count: they must be replaced to restore the generation.
    pub fn present_count(&self) -> u32 {
        let has_gone_back = self.generation < self.newest_generation;
        let is_present = |worker: &Worker| !has_gone_back || !worker.is_stopping();
        let ordered = self.ordered.values().filter(|generation| **generation == self.generation);
        count(self.current_workers().filter(|(_, worker)| is_present(worker))) + count(ordered)
    }

    /// How many more old workers there should be while the canary is on trial.
    pub fn missing_old_count(&self) -> u32 {
        let is_old = |generation: &Generation| *generation != self.generation;
        let ordered = self.ordered.values().filter(|generation| is_old(generation));
        self.config.target.saturating_sub(count(self.old_workers()) + count(ordered))
    }

    /// The lowest slot that no running or ordered worker uses.
    pub fn free_slot(&self) -> Slot {
        let mut used: Vec<u32> = self
            .workers
            .values()
            .map(|worker| worker.slot.0)
            .chain(self.ordered.keys().map(|slot| slot.0))
            .collect();
        used.sort_unstable();
        let lowest = used.iter().zip(0u32..).find(|(used, index)| **used != *index);
        Slot(lowest.map_or(count(&used), |(_, index)| index))
    }

    /// Workers of other generations that are not stopping: of older ones, or of a failed roll-out.
    pub fn old_workers(&self) -> impl Iterator<Item = (Pid, &Worker)> {
        self.workers
            .iter()
            .filter(|(_, worker)| worker.generation != self.generation && !worker.is_stopping())
            .map(|(pid, worker)| (*pid, worker))
    }

    /// The generation to restore if a roll-out fails whose state does not record it: the newest one
    /// that still has workers, or else the one before.
    pub fn previous_generation(&self) -> Generation {
        let serving = self.old_workers().map(|(_, worker)| worker.generation);
        let before = serving.filter(|generation| *generation < self.generation).max();
        before.unwrap_or(Generation(self.generation.0.saturating_sub(1)))
    }

    /// What `--chdir` resolved to when the generation began.
    pub fn directory_of(&self, generation: Generation) -> Option<&Path> {
        self.deployments.get(&generation)?.directory.as_deref()
    }

    /// The number of failures that ends a roll-out. During the canary stage, in which a single
    /// worker is retried with a back-off, it does not depend on the size of the fleet.
    pub fn failures_max(&self) -> u32 {
        let is_canary = self.rollout.as_ref().is_some_and(Rollout::is_canary);
        let tenth = if is_canary { 0 } else { self.config.target.div_ceil(10) };
        self.config.rollout.failures_max.unwrap_or(tenth.max(UPGRADE_FAILURES_MIN))
    }

    /// How many workers serve: those that are up and not stopping, of any generation.
    pub fn capacity(&self) -> u32 {
        count(self.workers.values().filter(|worker| worker.is_serving()))
    }

    /// How many workers of the current generation serve.
    pub fn current_capacity(&self) -> u32 {
        count(self.current_workers().filter(|(_, worker)| worker.is_serving()))
    }

    /// How many workers are ordered, or running and not stopping, of any generation.
    pub fn staying_count(&self) -> u32 {
        count(self.workers.values().filter(|worker| !worker.is_stopping()))
            + count(self.ordered.values())
    }

    /// How many more workers a roll-out may start now, by `--max-upgrade-additional`.
    pub fn room_for_additional(&self) -> u32 {
        match (&self.rollout, self.config.max_upgrade_additional) {
            (Some(_), Some(additional)) => {
                self.config.target.saturating_add(additional).saturating_sub(self.staying_count())
            }
            _ => u32::MAX,
        }
    }

    /// Whether `-r` consecutive attempts have failed, so that no more workers are started.
    pub fn has_given_up(&self) -> bool {
        self.config.retries.is_some_and(|retries| self.early_death_count >= retries)
    }
}

/// Counts items; no collection here exceeds a few tens of thousands.
fn count(items: impl IntoIterator) -> u32 {
    u32::try_from(items.into_iter().count()).unwrap_or(u32::MAX)
}
