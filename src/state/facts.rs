//! Everything that the master knows, and the queries that decisions are made of.

use std::collections::BTreeMap;
use std::path::Path;

use crate::state::{
    Config, ConnectionId, Deployment, EndedUpgrade, Generation, Listener, Monotonic, Pid, Realtime,
    Reexec, Rollout, Slot, UPGRADE_FAILURES_MIN, Waiter, Worker,
};

/// What is known of a connection.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Connection {
    /// The worker that it was given to by `-g`; it stays open after an ACK.
    pub given_to: Option<Pid>,
}

/// That the master is on its way out: nothing is started any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopping {
    /// The exit status once all workers are gone.
    pub exit_code: i32,
}

/// Everything that the master knows. Only `decide` changes it.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// What the operator asked for.
    pub config: Config,
    /// The master's own pid.
    pub master_pid: Pid,
    /// The default of `--max-unacked`; at least 1.
    pub processor_count: u32,
    /// In the order of the command line: `-b` first, then `srv:` words.
    pub listeners: Vec<Listener>,
    /// The living, and the dead that were not reaped yet.
    pub workers: BTreeMap<Pid, Worker>,
    /// Workers that were ordered and are neither started nor failed yet.
    pub ordered: BTreeMap<Slot, Generation>,
    /// The open connections to the command socket.
    pub connections: BTreeMap<ConnectionId, Connection>,
    /// The code that is meant to serve: that of a roll-out, until it fails.
    pub generation: Generation,
    /// The highest number that a code was ever given; above [`State::generation`] after a roll-out
    /// that failed.
    pub newest_generation: Generation,
    /// How often the master has re-executed itself; the original's `:generation:`.
    pub reexec_count: u32,
    /// Workers of the first start that are still to be ordered, all at once.
    pub cold_start_count: u32,
    /// Consecutive deaths (and failed starts) before an ACK; the first ACK ends the streak.
    pub early_death_count: u32,
    /// When a worker was last started, or a start last failed; the back-off runs from here.
    pub last_spawn_at: Option<Monotonic>,
    /// The same on the calendar, of successful starts.
    pub last_spawned_on: Option<Realtime>,
    /// Up to when immediate replacements have used up their pace; see `decide::pool`.
    pub pace_used_until: Monotonic,
    /// Set once the master is on its way out.
    pub stopping: Option<Stopping>,
    /// The master's own step of an upgrade, while it lasts.
    pub reexec: Option<Reexec>,
    /// The roll-out of new code, while it lasts.
    pub rollout: Option<Rollout>,
    /// How the last upgrade ended.
    pub last_upgrade: Option<EndedUpgrade>,
    /// What the generations that may still be started are started with; empty without `--chdir`
    /// and `--env-file`.
    pub deployments: BTreeMap<Generation, Deployment>,
    /// The same for the generation that the upgrade in progress begins.
    pub next_deployment: Option<Deployment>,
    /// How often workers of an index ended though nobody had told them to.
    pub slot_deaths: BTreeMap<Slot, u32>,
    /// Clients that are owed the last line of an upgrade.
    pub waiters: Vec<Waiter>,
    /// When the master last re-executed itself.
    pub reexecuted_at: Option<Monotonic>,
    /// When an upgrade that a signal asked for too soon after the last one begins.
    pub upgrade_due_at: Option<Monotonic>,
    /// When the last roll-out began, on the calendar.
    pub last_upgraded_on: Option<Realtime>,
    /// A fact that only the next release knows; see the feature `next` in Cargo.toml.
    #[cfg(feature = "next")]
    pub note: Option<String>,
    /// Another one, that an older release can do without.
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
            last_upgrade: None,
            deployments: BTreeMap::new(),
            next_deployment: None,
            slot_deaths: BTreeMap::new(),
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

    /// How many workers may wait for their ACK while workers are replaced gradually.
    pub fn max_unacked(&self) -> u32 {
        self.config.max_unacked.unwrap_or(self.processor_count)
    }

    /// Live workers of the code that is meant to serve.
    pub fn current_workers(&self) -> impl Iterator<Item = (Pid, &Worker)> {
        self.workers
            .iter()
            .filter(|(_, worker)| worker.generation == self.generation)
            .map(|(pid, worker)| (*pid, worker))
    }

    /// Live workers of the newest code that are up; those told to go included.
    pub fn acked_count(&self) -> u32 {
        count(self.current_workers().filter(|(_, worker)| worker.is_acked()))
    }

    /// Whether workers of this code are started now: of that which is meant to serve, and while a
    /// canary shows what it is worth also of that before it.
    pub fn is_startable(&self, generation: Generation) -> bool {
        let before = self.rollout.as_ref().filter(|rollout| rollout.is_canary());
        generation == self.generation || before.is_some_and(|rollout| rollout.from == generation)
    }

    /// Workers of a generation that are ordered or started, and neither ACKed nor told to go.
    pub fn unacked_count(&self, generation: Generation) -> u32 {
        let waits = |worker: &&Worker| {
            !worker.is_acked() && !worker.is_stopping() && worker.generation == generation
        };
        let ordered = self.ordered.values().filter(|ordered| **ordered == generation);
        count(self.workers.values().filter(waits)) + count(ordered)
    }

    /// How many more workers of the newest code there should be. Those told to go that still live
    /// count as present, so a slow drain never puts more processes on the machine than were asked
    /// for (behaviour.md section 4).
    pub fn missing_count(&self) -> u32 {
        self.config.target.saturating_sub(self.present_count())
    }

    /// Workers of the code that is meant to serve, ordered or living. After a roll-out that failed
    /// those that it had told to go do not count: it is for them that others come.
    pub fn present_count(&self) -> u32 {
        let has_gone_back = self.generation < self.newest_generation;
        let is_present = |worker: &Worker| !has_gone_back || !worker.is_stopping();
        let ordered = self.ordered.values().filter(|generation| **generation == self.generation);
        count(self.current_workers().filter(|(_, worker)| is_present(worker))) + count(ordered)
    }

    /// How many more workers of other code there should be while a canary shows what it is worth.
    pub fn missing_before_count(&self) -> u32 {
        let is_old = |generation: &Generation| *generation != self.generation;
        let ordered = self.ordered.values().filter(|generation| is_old(generation));
        self.config.target.saturating_sub(count(self.old_workers()) + count(ordered))
    }

    /// The lowest index that no live or ordered worker uses.
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

    /// Live workers of other code than is meant to serve that were not told to go: older code, or
    /// that of a roll-out that failed.
    pub fn old_workers(&self) -> impl Iterator<Item = (Pid, &Worker)> {
        self.workers
            .iter()
            .filter(|(_, worker)| worker.generation != self.generation && !worker.is_stopping())
            .map(|(pid, worker)| (*pid, worker))
    }

    /// The generation to go back to in a roll-out of which nobody has noted it: the newest of which
    /// workers still serve, or else the one before.
    pub fn generation_before(&self) -> Generation {
        let serving = self.old_workers().map(|(_, worker)| worker.generation);
        let before = serving.filter(|generation| *generation < self.generation).max();
        before.unwrap_or(Generation(self.generation.0.saturating_sub(1)))
    }

    /// The directory of `--chdir` in which a generation began, if it has one.
    pub fn began_in(&self, generation: Generation) -> Option<&Path> {
        self.deployments.get(&generation)?.directory.as_deref()
    }

    /// The failure of a new worker that ends a roll-out. While there is but a canary, which is
    /// tried again and again with longer and longer pauses, the size of the fleet says nothing.
    pub fn failures_max(&self) -> u32 {
        let is_canary = self.rollout.as_ref().is_some_and(Rollout::is_canary);
        let tenth = if is_canary { 0 } else { self.config.target.div_ceil(10) };
        self.config.rollout.failures_max.unwrap_or(tenth.max(UPGRADE_FAILURES_MIN))
    }

    /// Workers that are up and were not told to go, whatever their code: those that serve.
    pub fn capacity(&self) -> u32 {
        count(self.workers.values().filter(|worker| worker.is_acked() && !worker.is_stopping()))
    }

    /// The same of the newest code.
    pub fn current_capacity(&self) -> u32 {
        count(self.current_workers().filter(|(_, w)| w.is_acked() && !w.is_stopping()))
    }

    /// Workers that are ordered, or live and were not told to go, whatever their code.
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

    /// Whether `-r` attempts have failed in a row, so that nothing more is started.
    pub fn has_given_up(&self) -> bool {
        self.config.retries.is_some_and(|retries| self.early_death_count >= retries)
    }
}

/// A count that fits: nothing here grows beyond a few tens of thousands.
fn count(items: impl IntoIterator) -> u32 {
    u32::try_from(items.into_iter().count()).unwrap_or(u32::MAX)
}
