//! What the master knows.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::scalar;
use crate::schema::codec::{Text, list};
use crate::schema::v1::config::{Config, Listener};
use crate::schema::v1::upgrade::{Reexec, Rollout, Scalar, Waiter};
use crate::state::{self, ConnectionId, Generation, Monotonic, Pid, Realtime, Signal, Slot};

/// All that the decisions rest on.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct State {
    pub config: Config,
    pub master_pid: i32,
    pub processor_count: u32,
    pub listeners: Vec<Listener>,
    pub workers: Vec<Worker>,
    pub ordered: Vec<Order>,
    pub connections: Vec<Connection>,
    pub generation: u32,
    pub reexec_count: u32,
    pub cold_start_count: u32,
    pub early_death_count: u32,
    pub last_spawn_at_ns: Option<u64>,
    pub last_spawned_on_ns: Option<i64>,
    pub pace_used_until_at_ns: u64,
    pub stopping: Option<Stopping>,
    pub reexec: Option<Reexec>,
    pub rollout: Option<Rollout>,
    pub waiters: Vec<Waiter>,
    pub reexecuted_at_ns: Option<u64>,
    pub upgrade_due_at_ns: Option<u64>,
    pub last_upgraded_on_ns: Option<i64>,
}

/// A child that was not reaped yet.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Worker {
    pub pid: i32,
    pub slot: u32,
    pub generation: u32,
    pub spawned_at_ns: u64,
    pub spawned_on_ns: i64,
    pub acked_at_ns: Option<u64>,
    pub signaled: Vec<Text>,
    pub told_to_go_at_ns: Option<u64>,
    pub last_signaled_on_ns: Option<i64>,
    pub ping: Option<Ping>,
    pub connection: Option<u64>,
}

/// The last ping of a worker.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Ping {
    pub arrived_on_ns: i64,
    pub request_id: Option<Scalar>,
}

/// A worker that was ordered and is not started yet.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Order {
    pub slot: u32,
    pub generation: u32,
}

/// A connection to the command socket.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Connection {
    pub id: u64,
    pub given_to: Option<i32>,
}

/// That the master is on its way out.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Stopping {
    pub exit_code: i32,
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
            reexec_count,
            cold_start_count,
            early_death_count,
            last_spawn_at,
            last_spawned_on,
            pace_used_until,
            stopping,
            reexec,
            rollout,
            waiters,
            reexecuted_at,
            upgrade_due_at,
            last_upgraded_on,
            newest_generation: _,
            last_upgrade: _,
            deployments: _,
            next_deployment: _,
            slot_deaths: _,
            #[cfg(feature = "next")]
                note: _, // version 2 carries it
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
            reexec_count: *reexec_count,
            cold_start_count: *cold_start_count,
            early_death_count: *early_death_count,
            last_spawn_at_ns: last_spawn_at.map(|at| at.0),
            last_spawned_on_ns: last_spawned_on.map(|on| on.0),
            pace_used_until_at_ns: pace_used_until.0,
            stopping: stopping.map(|state::Stopping { exit_code }| Stopping { exit_code }),
            reexec: reexec.as_ref().map(Reexec::from),
            rollout: rollout.as_ref().map(|rollout| rollout.kind.into()),
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
            reexec_count,
            cold_start_count,
            early_death_count,
            last_spawn_at_ns,
            last_spawned_on_ns,
            pace_used_until_at_ns,
            stopping,
            reexec,
            rollout,
            waiters,
            reexecuted_at_ns,
            upgrade_due_at_ns,
            last_upgraded_on_ns,
        } = wire;
        ascending("workers", workers.iter().map(|worker| worker.pid))?;
        ascending("ordered", ordered.iter().map(|order| order.slot))?;
        ascending("connections", connections.iter().map(|connection| connection.id))?;
        let workers = workers.into_iter().map(<(Pid, state::Worker)>::try_from);
        let mut state = state::State {
            config: config.into(),
            master_pid: Pid(master_pid),
            processor_count,
            listeners: list(listeners),
            workers: workers.collect::<Result<_, _>>()?,
            ordered: ordered.into_iter().map(Into::into).collect(),
            connections: connections.into_iter().map(Into::into).collect(),
            generation: Generation(generation),
            reexec_count,
            cold_start_count,
            early_death_count,
            last_spawn_at: last_spawn_at_ns.map(Monotonic),
            last_spawned_on: last_spawned_on_ns.map(Realtime),
            pace_used_until: Monotonic(pace_used_until_at_ns),
            stopping: stopping.map(|Stopping { exit_code }| state::Stopping { exit_code }),
            reexec: reexec.map(Into::into),
            rollout: None,
            waiters: list(waiters),
            reexecuted_at: reexecuted_at_ns.map(Monotonic),
            upgrade_due_at: upgrade_due_at_ns.map(Monotonic),
            last_upgraded_on: last_upgraded_on_ns.map(Realtime),
            newest_generation: Generation(generation),
            last_upgrade: None,
            deployments: BTreeMap::new(),
            next_deployment: None,
            slot_deaths: BTreeMap::new(),
            #[cfg(feature = "next")]
            note: None,
        };
        let began_at = state.last_spawn_at.or(state.reexecuted_at).unwrap_or_default();
        let from = state.generation_before();
        state.rollout = rollout.map(|kind| state::Rollout::resumed(kind.into(), from, began_at));
        Ok(state)
    }
}

/// Refuses lists whose keys are not in order, each once: a map would swallow the rest in silence.
fn ascending<K: Ord>(name: &str, keys: impl IntoIterator<Item = K>) -> Result<(), String> {
    match keys.into_iter().is_sorted_by(|a, b| a < b) {
        true => Ok(()),
        false => Err(format!("`{name}` are not in order, each once")),
    }
}

impl From<(&Pid, &state::Worker)> for Worker {
    fn from((pid, worker): (&Pid, &state::Worker)) -> Worker {
        let state::Worker {
            slot,
            generation,
            spawned_at,
            spawned_on,
            acked_at,
            signaled,
            told_to_go_at,
            last_signaled_on,
            ping,
            connection,
            directory: _,
            has_overrun: _,
        } = worker;
        Worker {
            pid: pid.0,
            slot: slot.0,
            generation: generation.0,
            spawned_at_ns: spawned_at.0,
            spawned_on_ns: spawned_on.0,
            acked_at_ns: acked_at.map(|at| at.0),
            signaled: signaled.iter().map(|signal| Text(signal.name().to_owned())).collect(),
            told_to_go_at_ns: told_to_go_at.map(|at| at.0),
            last_signaled_on_ns: last_signaled_on.map(|on| on.0),
            ping: ping.as_ref().map(Ping::from),
            connection: connection.map(|id| id.0),
        }
    }
}

impl TryFrom<Worker> for (Pid, state::Worker) {
    type Error = String;

    fn try_from(wire: Worker) -> Result<(Pid, state::Worker), String> {
        let Worker {
            pid,
            slot,
            generation,
            spawned_at_ns,
            spawned_on_ns,
            acked_at_ns,
            signaled,
            told_to_go_at_ns,
            last_signaled_on_ns,
            ping,
            connection,
        } = wire;
        let signals: Vec<Signal> = signaled.iter().map(signal).collect::<Result<_, _>>()?;
        ascending("signaled", &signals)?;
        let worker = state::Worker {
            slot: Slot(slot),
            generation: Generation(generation),
            spawned_at: Monotonic(spawned_at_ns),
            spawned_on: Realtime(spawned_on_ns),
            acked_at: acked_at_ns.map(Monotonic),
            signaled: BTreeSet::from_iter(signals),
            told_to_go_at: told_to_go_at_ns.map(Monotonic),
            last_signaled_on: last_signaled_on_ns.map(Realtime),
            ping: ping.map(state::Ping::from),
            connection: connection.map(ConnectionId),
            directory: None,
            has_overrun: false,
        };
        Ok((Pid(pid), worker))
    }
}

/// The signal of a name, written as we write it.
fn signal(name: &Text) -> Result<Signal, String> {
    let found = Signal::ALL.iter().find(|signal| signal.name() == name.0);
    found.copied().ok_or_else(|| "`signaled` has what is no signal".to_owned())
}

impl From<&state::Ping> for Ping {
    fn from(ping: &state::Ping) -> Ping {
        let state::Ping { at, request_id } = ping;
        Ping { arrived_on_ns: at.0, request_id: request_id.as_ref().map(Scalar::from) }
    }
}

impl From<Ping> for state::Ping {
    fn from(wire: Ping) -> state::Ping {
        let Ping { arrived_on_ns, request_id } = wire;
        state::Ping {
            at: Realtime(arrived_on_ns),
            request_id: request_id.map(scalar::Scalar::from),
        }
    }
}

impl From<(&Slot, &Generation)> for Order {
    fn from((slot, generation): (&Slot, &Generation)) -> Order {
        Order { slot: slot.0, generation: generation.0 }
    }
}

impl From<Order> for (Slot, Generation) {
    fn from(Order { slot, generation }: Order) -> (Slot, Generation) {
        (Slot(slot), Generation(generation))
    }
}

impl From<(&ConnectionId, &state::Connection)> for Connection {
    fn from((id, connection): (&ConnectionId, &state::Connection)) -> Connection {
        let state::Connection { given_to } = connection;
        Connection { id: id.0, given_to: given_to.map(|pid| pid.0) }
    }
}

impl From<Connection> for (ConnectionId, state::Connection) {
    fn from(wire: Connection) -> (ConnectionId, state::Connection) {
        let Connection { id, given_to } = wire;
        (ConnectionId(id), state::Connection { given_to: given_to.map(Pid) })
    }
}
