//! What the master knows.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::scalar;
use crate::schema::codec::{Text, ascending, list};
use crate::schema::v1::config::{Config, Listener};
use crate::schema::v1::upgrade::{Reexec, Rollout, Scalar, Waiter};
use crate::schema::v2;
use crate::state::{self, ConnectionId, Generation, Monotonic, Pid, Realtime, Signal, Slot};

/// All that the decisions rest on.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::schema) struct State {
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
pub(in crate::schema) struct Worker {
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
pub(in crate::schema) struct Ping {
    pub arrived_on_ns: i64,
    pub request_id: Option<Scalar>,
}

/// A worker that was ordered and is not started yet.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::schema) struct Order {
    pub slot: u32,
    pub generation: u32,
}

/// A connection to the command socket.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::schema) struct Connection {
    pub id: u64,
    pub given_to: Option<i32>,
}

/// That the master is on its way out.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::schema) struct Stopping {
    pub exit_code: i32,
}

impl From<State> for v2::State {
    fn from(wire: State) -> v2::State {
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
        let from = generation_before(generation, &workers);
        let began_at_ns = last_spawn_at_ns.or(reexecuted_at_ns).unwrap_or_default();
        v2::State {
            config: config.into(),
            master_pid,
            processor_count,
            listeners,
            workers: list(workers),
            ordered,
            connections,
            generation,
            newest_generation: generation,
            reexec_count,
            cold_start_count,
            early_death_count,
            last_spawn_at_ns,
            last_spawned_on_ns,
            pace_used_until_at_ns,
            stopping,
            reexec: reexec.map(Into::into),
            rollout: rollout.map(|kind| kind.resumed(from, began_at_ns)),
            last_upgrade: None,
            deployments: Vec::new(),
            next_deployment: None,
            slot_deaths: Vec::new(),
            waiters: list(waiters),
            reexecuted_at_ns,
            upgrade_due_at_ns,
            last_upgraded_on_ns,
        }
    }
}

impl From<v2::State> for State {
    fn from(wire: v2::State) -> State {
        let v2::State {
            config,
            master_pid,
            processor_count,
            listeners,
            workers,
            ordered,
            connections,
            generation,
            newest_generation: _,
            reexec_count,
            cold_start_count,
            early_death_count,
            last_spawn_at_ns,
            last_spawned_on_ns,
            pace_used_until_at_ns,
            stopping,
            reexec,
            rollout,
            last_upgrade: _,
            deployments: _,
            next_deployment: _,
            slot_deaths: _,
            waiters,
            reexecuted_at_ns,
            upgrade_due_at_ns,
            last_upgraded_on_ns,
        } = wire;
        State {
            config: config.first,
            master_pid,
            processor_count,
            listeners,
            workers: workers.into_iter().map(|worker| worker.first).collect(),
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
            reexec: reexec.map(Into::into),
            rollout: rollout.map(|rollout| rollout.kind),
            waiters: list(waiters),
            reexecuted_at_ns,
            upgrade_due_at_ns,
            last_upgraded_on_ns,
        }
    }
}

/// Which generation served before a roll-out that tells nothing of it: the newest of which workers
/// still serve, or else the one before.
fn generation_before(generation: u32, workers: &[Worker]) -> u32 {
    let staying = workers.iter().filter(|worker| worker.signaled.is_empty());
    let older = staying.map(|worker| worker.generation).filter(|other| *other < generation);
    older.max().unwrap_or(generation.saturating_sub(1))
}

impl From<Worker> for v2::Worker {
    fn from(first: Worker) -> v2::Worker {
        v2::Worker { first, directory: None, has_overrun: false }
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
            directory: _, // versions after this one carry it
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

impl From<state::Stopping> for Stopping {
    fn from(state::Stopping { exit_code }: state::Stopping) -> Stopping {
        Stopping { exit_code }
    }
}

impl From<Stopping> for state::Stopping {
    fn from(Stopping { exit_code }: Stopping) -> state::Stopping {
        state::Stopping { exit_code }
    }
}
