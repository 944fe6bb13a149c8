//! Builds the document.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::state::{
    Address, EndedUpgrade, Listener, Now, Pid, Realtime, State, UpgradeKind, Worker, release,
};
use crate::status::document::{
    InProgress, LastUpgrade, ListenerStatus, MasterStatus, Queue, Status, StopStepStatus, VERSION,
    WorkerStatus,
};
use crate::status::health::{Condition, condition};
use crate::status::kinds::{ListenerKind, UpgradeCommand, WorkerState};
use crate::status::progress::{failure, milliseconds, numbers, stage};
use crate::status::warnings::warnings;

/// Measurements from the measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measurements {
    /// The age of the master's process.
    pub uptime: Option<Duration>,
    /// Resident memory in bytes, of the master and of workers.
    pub memory: BTreeMap<Pid, u64>,
    /// The queues of the listeners, in order.
    pub queues: Vec<Option<Queue>>,
    /// Whether the release that the current generation began in has been deleted.
    pub is_release_gone: bool,
}

/// Builds the document of the master's current status.
pub fn report(state: &State, now: Now, measured: &Measurements) -> Status {
    let Condition { serving_count, health, reasons, mut warnings, mut notes } = condition(state);
    warnings.splice(0..0, self::warnings(state, now));
    if measured.is_release_gone {
        notes.push(format!(
            "the release of generation {} is gone: new workers start in the current --chdir \
             directory",
            state.generation.0
        ));
    }
    let mut workers: Vec<WorkerStatus> =
        state.workers.iter().map(|(pid, it)| worker(state, now, measured, *pid, it)).collect();
    workers.sort_by_key(|worker| worker.slot);
    let unmeasured = workers.iter().filter(|worker| worker.memory_bytes.is_none()).count();
    if unmeasured > 0 {
        let count = workers.len();
        notes.push(format!("memory not measured for {unmeasured} of {count} workers"));
    }
    let queues = measured.queues.iter().copied().chain(std::iter::repeat(None));
    Status {
        version: VERSION,
        written_on_ms: calendar(now.realtime),
        health,
        reasons,
        warnings,
        notes,
        master: MasterStatus {
            pid: state.master_pid.0,
            name: state.config.command_name.clone(),
            release: release().to_owned(),
            generation: state.generation.0,
            uptime_ms: measured.uptime.map(milliseconds),
            reexecs: state.reexec_count,
            target: state.config.target,
            acked: serving_count,
            early_deaths: state.early_death_count,
            memory_bytes: measured.memory.get(&state.master_pid).copied(),
        },
        in_progress: stage(state).map(|stage| InProgress { stage, numbers: numbers(state, now) }),
        last_upgrade: state.last_upgrade.as_ref().map(last_upgrade),
        workers,
        listeners: state.listeners.iter().zip(queues).map(listener).collect(),
    }
}

fn last_upgrade(ended: &EndedUpgrade) -> LastUpgrade {
    LastUpgrade {
        command: match ended.kind {
            UpgradeKind::Reload => UpgradeCommand::Reload,
            UpgradeKind::Smooth => UpgradeCommand::Upgrade,
            UpgradeKind::Fleet => UpgradeCommand::UpgradeFleet,
        },
        outcome: ended.outcome,
        generation: ended.generation.0,
        release: ended.directory.as_ref().map(|path| path.to_string_lossy().into_owned()),
        message: ended.message.clone(),
        took_ms: milliseconds(ended.took),
        ended_on_ms: calendar(ended.ended_on),
        failures: ended.failures.iter().map(failure).collect(),
        killed: ended.killed_count(),
    }
}

fn worker(
    state: &State,
    now: Now,
    measured: &Measurements,
    pid: Pid,
    worker: &Worker,
) -> WorkerStatus {
    let schedule = state.config.stop_schedule();
    let due = worker.next_stop_at(&schedule);
    let step = worker.stop_progress.map(|progress| progress.step);
    WorkerStatus {
        slot: worker.slot.0,
        pid: pid.0,
        generation: worker.generation.0,
        release: worker.directory.as_ref().map(|path| path.to_string_lossy().into_owned()),
        state: worker_state(state, worker),
        started_on_ms: calendar(worker.spawned_on),
        age_ms: milliseconds(now.monotonic.since(worker.spawned_at)),
        time_to_ack_ms: worker.acked_at.map(|at| milliseconds(at.since(worker.spawned_at))),
        restarts: state.slot_deaths.get(&worker.slot).copied().unwrap_or(0),
        memory_bytes: measured.memory.get(&pid).copied(),
        step: step.map(|step| StopStepStatus {
            number: step.saturating_add(1),
            of: u32::try_from(schedule.steps().len()).unwrap_or(u32::MAX),
            signal: schedule.signal(step).to_string(),
        }),
        next_signal: due
            .map(|_| schedule.signal(step.map_or(0, |step| step.saturating_add(1))).to_string()),
        deadline_ms: due.map(|due| {
            let signed = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
            signed(due.since(now.monotonic)) - signed(now.monotonic.since(due))
        }),
    }
}

fn worker_state(state: &State, worker: &Worker) -> WorkerState {
    let is_current = worker.generation == state.generation;
    if worker.missed_ack_deadline {
        WorkerState::AckOverdue
    } else if worker.is_stopping() {
        WorkerState::Draining
    } else if worker.suspension.current.is_some() {
        WorkerState::Suspended
    } else if is_current && state.rollout.as_ref().is_some_and(|rollout| rollout.is_canary()) {
        WorkerState::Canary
    } else if worker.is_acked() {
        WorkerState::Up
    } else {
        WorkerState::Starting
    }
}

fn listener((listener, queue): (&Listener, Option<Queue>)) -> ListenerStatus {
    let mut address = listener.bind.address.clone();
    let kind = match &mut address {
        Address::Tcp { port, .. } => {
            *port = listener.port.unwrap_or(*port);
            ListenerKind::Tcp
        }
        Address::Udp { port, .. } => {
            *port = listener.port.unwrap_or(*port);
            ListenerKind::Udp
        }
        Address::Unix { .. } => ListenerKind::Unix,
    };
    ListenerStatus { address: address.to_string(), kind, descriptor: listener.descriptor, queue }
}

fn calendar(on: Realtime) -> i64 {
    on.0 / 1_000_000
}
