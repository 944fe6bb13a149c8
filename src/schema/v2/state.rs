//! What the master knows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::schema::codec::{Bytes, ascending, list};
use crate::schema::v1;
use crate::schema::v2::config::Config;
use crate::schema::v2::upgrade::{
    Deployed, Deployment, EndedUpgrade, Reexec, Rollout, SlotDeaths, Waiter,
};
use crate::state::{self, Generation, Monotonic, Pid, Realtime};

/// All that the decisions rest on.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::schema) struct State {
    pub config: Config,
    pub master_pid: i32,
    pub processor_count: u32,
    pub listeners: Vec<v1::Listener>,
    pub workers: Vec<Worker>,
    pub ordered: Vec<v1::Order>,
    pub connections: Vec<v1::Connection>,
    pub generation: u32,
    pub newest_generation: u32,
    pub reexec_count: u32,
    pub cold_start_count: u32,
    pub early_death_count: u32,
    pub last_spawn_at_ns: Option<u64>,
    pub last_spawned_on_ns: Option<i64>,
    pub pace_used_until_at_ns: u64,
    pub stopping: Option<v1::Stopping>,
    pub reexec: Option<Reexec>,
    pub rollout: Option<Rollout>,
    pub last_upgrade: Option<EndedUpgrade>,
    pub deployments: Vec<Deployed>,
    pub next_deployment: Option<Deployment>,
    pub slot_deaths: Vec<SlotDeaths>,
    pub waiters: Vec<Waiter>,
    pub reexecuted_at_ns: Option<u64>,
    pub upgrade_due_at_ns: Option<u64>,
    pub last_upgraded_on_ns: Option<i64>,
}

/// A child that was not reaped yet.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::schema) struct Worker {
    pub first: v1::Worker,
    pub directory: Option<Bytes>,
    pub has_overrun: bool,
}

impl From<&state::State> for State {
    fn from(state: &state::State) -> State {
        let state::State {
            config,
            master_pid,
            processor_count,
            listeners,
            workers,
            ordered,
            connections,
            generation,
            newest_generation,
            reexec_count,
            cold_start_count,
            early_death_count,
            last_spawn_at,
            last_spawned_on,
            pace_used_until,
            stopping,
            reexec,
            rollout,
            last_upgrade,
            deployments,
            next_deployment,
            slot_deaths,
            waiters,
            reexecuted_at,
            upgrade_due_at,
            last_upgraded_on,
            #[cfg(feature = "next")]
                note: _, // version 3 carries it
        } = state;
        State {
            config: config.into(),
            master_pid: master_pid.0,
            processor_count: *processor_count,
            listeners: list(listeners),
            workers: list(workers),
            ordered: list(ordered),
            connections: list(connections),
            generation: generation.0,
            newest_generation: newest_generation.0,
            reexec_count: *reexec_count,
            cold_start_count: *cold_start_count,
            early_death_count: *early_death_count,
            last_spawn_at_ns: last_spawn_at.map(|at| at.0),
            last_spawned_on_ns: last_spawned_on.map(|on| on.0),
            pace_used_until_at_ns: pace_used_until.0,
            stopping: stopping.map(Into::into),
            reexec: reexec.map(Into::into),
            rollout: rollout.as_ref().map(Into::into),
            last_upgrade: last_upgrade.as_ref().map(Into::into),
            deployments: list(deployments),
            next_deployment: next_deployment.as_ref().map(Into::into),
            slot_deaths: list(slot_deaths),
            waiters: list(waiters),
            reexecuted_at_ns: reexecuted_at.map(|at| at.0),
            upgrade_due_at_ns: upgrade_due_at.map(|at| at.0),
            last_upgraded_on_ns: last_upgraded_on.map(|on| on.0),
        }
    }
}

impl TryFrom<State> for state::State {
    type Error = String;

    fn try_from(wire: State) -> Result<state::State, String> {
        let State {
            config,
            master_pid,
            processor_count,
            listeners,
            workers,
            ordered,
            connections,
            generation,
            newest_generation,
            reexec_count,
            cold_start_count,
            early_death_count,
            last_spawn_at_ns,
            last_spawned_on_ns,
            pace_used_until_at_ns,
            stopping,
            reexec,
            rollout,
            last_upgrade,
            deployments,
            next_deployment,
            slot_deaths,
            waiters,
            reexecuted_at_ns,
            upgrade_due_at_ns,
            last_upgraded_on_ns,
        } = wire;
        ascending("workers", workers.iter().map(|worker| worker.first.pid))?;
        ascending("ordered", ordered.iter().map(|order| order.slot))?;
        ascending("connections", connections.iter().map(|connection| connection.id))?;
        ascending("deployments", deployments.iter().map(|deployed| deployed.generation))?;
        ascending("slot_deaths", slot_deaths.iter().map(|deaths| deaths.slot))?;
        let workers = workers.into_iter().map(<(Pid, state::Worker)>::try_from);
        Ok(state::State {
            config: config.into(),
            master_pid: Pid(master_pid),
            processor_count,
            listeners: list(listeners),
            workers: workers.collect::<Result<_, _>>()?,
            ordered: map(ordered),
            connections: map(connections),
            generation: Generation(generation),
            newest_generation: Generation(newest_generation),
            reexec_count,
            cold_start_count,
            early_death_count,
            last_spawn_at: last_spawn_at_ns.map(Monotonic),
            last_spawned_on: last_spawned_on_ns.map(Realtime),
            pace_used_until: Monotonic(pace_used_until_at_ns),
            stopping: stopping.map(Into::into),
            reexec: reexec.map(Into::into),
            rollout: rollout.map(Into::into),
            last_upgrade: last_upgrade.map(TryInto::try_into).transpose()?,
            deployments: map(deployments),
            next_deployment: next_deployment.map(Into::into),
            slot_deaths: map(slot_deaths),
            waiters: list(waiters),
            reexecuted_at: reexecuted_at_ns.map(Monotonic),
            upgrade_due_at: upgrade_due_at_ns.map(Monotonic),
            last_upgraded_on: last_upgraded_on_ns.map(Realtime),
            #[cfg(feature = "next")]
            note: None,
        })
    }
}

/// Every item of a list, whose keys ascend, under its key.
fn map<K: Ord, V>(items: Vec<impl Into<(K, V)>>) -> BTreeMap<K, V> {
    items.into_iter().map(Into::into).collect()
}

impl From<(&Pid, &state::Worker)> for Worker {
    fn from((pid, worker): (&Pid, &state::Worker)) -> Worker {
        Worker {
            first: (pid, worker).into(),
            directory: worker.directory.as_ref().map(Bytes::from),
            has_overrun: worker.has_overrun,
        }
    }
}

impl TryFrom<Worker> for (Pid, state::Worker) {
    type Error = String;

    fn try_from(wire: Worker) -> Result<(Pid, state::Worker), String> {
        let Worker { first, directory, has_overrun } = wire;
        let (pid, worker): (Pid, state::Worker) = first.try_into()?;
        let directory = directory.map(Into::into);
        Ok((pid, state::Worker { directory, has_overrun, ..worker }))
    }
}
