//! An upgrade in progress, how the last one ended, and what generations are started with.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::outcome::Outcome;
use crate::scalar;
use crate::schema::codec::{Bytes, Text, list, nanos};
use crate::schema::v1;
use crate::state::{self, ConnectionId, Generation, Monotonic, Pid, Realtime, Slot};

/// The master's own step.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::schema) struct Reexec {
    pub kind: v1::UpgradeKind,
    pub asked_at_ns: u64,
    pub stage: v1::Stage,
}

/// How new workers take over.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::schema) struct Rollout {
    pub kind: v1::Rollout,
    pub from: u32,
    pub asked_at_ns: u64,
    pub began_at_ns: u64,
    pub stage: RolloutStage,
    pub failure_count: u32,
    pub failures: Vec<Failure>,
}

/// How far a roll-out is.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::schema) enum RolloutStage {
    Canary { check: Option<CanaryCheck> },
    Replacing,
}

/// The command of `--on-canary`, while it runs.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::schema) struct CanaryCheck {
    pub worker: i32,
    pub process: Option<i32>,
    pub deadline_at_ns: u64,
    pub is_overdue: bool,
}

/// A new worker that failed.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::schema) struct Failure {
    pub pid: Option<i32>,
    pub slot: u32,
    pub what: Text,
    pub age_ns: u64,
    pub last_words: Option<Text>,
}

/// How the last upgrade ended.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::schema) struct EndedUpgrade {
    pub kind: v1::UpgradeKind,
    pub generation: u32,
    pub directory: Option<Bytes>,
    pub outcome: Text,
    pub message: Text,
    pub took_ns: u64,
    pub ended_on_ns: i64,
    pub failures: Vec<Failure>,
}

/// What a generation is started with.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::schema) struct Deployed {
    pub generation: u32,
    pub deployment: Deployment,
}

/// What `--chdir` and `--env-file` meant when a generation began.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::schema) struct Deployment {
    pub directory: Option<Bytes>,
    pub environment: Vec<v1::Variable>,
}

/// How often workers of an index ended though nobody had told them to.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::schema) struct SlotDeaths {
    pub slot: u32,
    pub count: u32,
}

/// A client that is owed the last line of something that goes on.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::schema) struct Waiter {
    pub connection: u64,
    pub request_id: Option<v1::Scalar>,
    pub waits_for: WaitsFor,
    pub wants_events: bool,
}

/// For what it waits.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::schema) enum WaitsFor {
    Reexec,
    Rollout,
    Upgrade,
    Settled,
    Exit,
}

impl From<state::Reexec> for Reexec {
    fn from(reexec: state::Reexec) -> Reexec {
        let state::Reexec { kind, asked_at, stage, is_hand_back: _ } = reexec;
        Reexec { kind: kind.into(), asked_at_ns: asked_at.0, stage: stage.into() }
    }
}

impl From<Reexec> for state::Reexec {
    fn from(wire: Reexec) -> state::Reexec {
        let Reexec { kind, asked_at_ns, stage } = wire;
        let (kind, stage) = (kind.into(), stage.into());
        state::Reexec { kind, asked_at: Monotonic(asked_at_ns), stage, is_hand_back: false }
    }
}

impl From<&state::Rollout> for Rollout {
    fn from(rollout: &state::Rollout) -> Rollout {
        let state::Rollout { kind, from, asked_at, began_at, stage, failure_count, failures } =
            rollout;
        Rollout {
            kind: (*kind).into(),
            from: from.0,
            asked_at_ns: asked_at.0,
            began_at_ns: began_at.0,
            stage: (*stage).into(),
            failure_count: *failure_count,
            failures: list(failures),
        }
    }
}

impl From<Rollout> for state::Rollout {
    fn from(wire: Rollout) -> state::Rollout {
        let Rollout { kind, from, asked_at_ns, began_at_ns, stage, failure_count, failures } = wire;
        state::Rollout {
            kind: kind.into(),
            from: Generation(from),
            asked_at: Monotonic(asked_at_ns),
            began_at: Monotonic(began_at_ns),
            stage: stage.into(),
            failure_count,
            failures: list(failures),
        }
    }
}

impl From<state::RolloutStage> for RolloutStage {
    fn from(stage: state::RolloutStage) -> RolloutStage {
        match stage {
            state::RolloutStage::Canary { check } => {
                RolloutStage::Canary { check: check.map(Into::into) }
            }
            state::RolloutStage::Replacing => RolloutStage::Replacing,
        }
    }
}

impl From<RolloutStage> for state::RolloutStage {
    fn from(wire: RolloutStage) -> state::RolloutStage {
        match wire {
            RolloutStage::Canary { check } => {
                state::RolloutStage::Canary { check: check.map(Into::into) }
            }
            RolloutStage::Replacing => state::RolloutStage::Replacing,
        }
    }
}

impl From<state::CanaryCheck> for CanaryCheck {
    fn from(check: state::CanaryCheck) -> CanaryCheck {
        let state::CanaryCheck { worker, process, deadline, is_overdue } = check;
        let process = process.map(|pid| pid.0);
        CanaryCheck { worker: worker.0, process, deadline_at_ns: deadline.0, is_overdue }
    }
}

impl From<CanaryCheck> for state::CanaryCheck {
    fn from(wire: CanaryCheck) -> state::CanaryCheck {
        let CanaryCheck { worker, process, deadline_at_ns, is_overdue } = wire;
        let (worker, process) = (Pid(worker), process.map(Pid));
        state::CanaryCheck { worker, process, deadline: Monotonic(deadline_at_ns), is_overdue }
    }
}

impl From<&state::Failure> for Failure {
    fn from(failure: &state::Failure) -> Failure {
        let state::Failure { pid, slot, what, age, last_words } = failure;
        let (pid, last_words) = (pid.map(|pid| pid.0), last_words.as_ref().map(Text::from));
        Failure { pid, slot: slot.0, what: what.into(), age_ns: nanos(*age), last_words }
    }
}

impl From<Failure> for state::Failure {
    fn from(wire: Failure) -> state::Failure {
        let Failure { pid, slot, what, age_ns, last_words } = wire;
        let (pid, age) = (pid.map(Pid), Duration::from_nanos(age_ns));
        let last_words = last_words.map(String::from);
        state::Failure { pid, slot: Slot(slot), what: what.into(), age, last_words }
    }
}

impl From<&state::EndedUpgrade> for EndedUpgrade {
    fn from(ended: &state::EndedUpgrade) -> EndedUpgrade {
        let state::EndedUpgrade {
            kind,
            generation,
            directory,
            outcome,
            message,
            took,
            ended_on,
            failures,
        } = ended;
        EndedUpgrade {
            kind: (*kind).into(),
            generation: generation.0,
            directory: directory.as_ref().map(Bytes::from),
            outcome: Text(outcome.name().to_owned()),
            message: message.into(),
            took_ns: nanos(*took),
            ended_on_ns: ended_on.0,
            failures: list(failures),
        }
    }
}

impl TryFrom<EndedUpgrade> for state::EndedUpgrade {
    type Error = String;

    fn try_from(wire: EndedUpgrade) -> Result<state::EndedUpgrade, String> {
        let EndedUpgrade {
            kind,
            generation,
            directory,
            outcome,
            message,
            took_ns,
            ended_on_ns,
            failures,
        } = wire;
        Ok(state::EndedUpgrade {
            kind: kind.into(),
            generation: Generation(generation),
            directory: directory.map(Into::into),
            outcome: outcome_of(&outcome)?,
            message: message.into(),
            took: Duration::from_nanos(took_ns),
            ended_on: Realtime(ended_on_ns),
            failures: list(failures),
        })
    }
}

/// The outcome of a name.
fn outcome_of(name: &Text) -> Result<Outcome, String> {
    let found = Outcome::ALL.iter().find(|outcome| outcome.name() == name.0);
    found.copied().ok_or_else(|| "`outcome` has what is no outcome".to_owned())
}

impl From<(&Generation, &state::Deployment)> for Deployed {
    fn from((generation, deployment): (&Generation, &state::Deployment)) -> Deployed {
        Deployed { generation: generation.0, deployment: deployment.into() }
    }
}

impl From<Deployed> for (Generation, state::Deployment) {
    fn from(Deployed { generation, deployment }: Deployed) -> (Generation, state::Deployment) {
        (Generation(generation), deployment.into())
    }
}

impl From<&state::Deployment> for Deployment {
    fn from(deployment: &state::Deployment) -> Deployment {
        let state::Deployment { directory, environment } = deployment;
        let directory = directory.as_ref().map(Bytes::from);
        Deployment { directory, environment: list(environment) }
    }
}

impl From<Deployment> for state::Deployment {
    fn from(Deployment { directory, environment }: Deployment) -> state::Deployment {
        let directory = directory.map(Into::into);
        state::Deployment { directory, environment: list(environment) }
    }
}

impl From<(&Slot, &u32)> for SlotDeaths {
    fn from((slot, count): (&Slot, &u32)) -> SlotDeaths {
        SlotDeaths { slot: slot.0, count: *count }
    }
}

impl From<SlotDeaths> for (Slot, u32) {
    fn from(SlotDeaths { slot, count }: SlotDeaths) -> (Slot, u32) {
        (Slot(slot), count)
    }
}

impl From<&state::Waiter> for Waiter {
    fn from(waiter: &state::Waiter) -> Waiter {
        let state::Waiter { connection, request_id, waits_for, wants_events } = waiter;
        Waiter {
            connection: connection.0,
            request_id: request_id.as_ref().map(v1::Scalar::from),
            waits_for: match waits_for {
                state::WaitsFor::Reexec => WaitsFor::Reexec,
                state::WaitsFor::Rollout => WaitsFor::Rollout,
                state::WaitsFor::Upgrade => WaitsFor::Upgrade,
                state::WaitsFor::Settled => WaitsFor::Settled,
                state::WaitsFor::Exit => WaitsFor::Exit,
            },
            wants_events: *wants_events,
        }
    }
}

impl From<Waiter> for state::Waiter {
    fn from(wire: Waiter) -> state::Waiter {
        let Waiter { connection, request_id, waits_for, wants_events } = wire;
        state::Waiter {
            connection: ConnectionId(connection),
            request_id: request_id.map(scalar::Scalar::from),
            waits_for: match waits_for {
                WaitsFor::Reexec => state::WaitsFor::Reexec,
                WaitsFor::Rollout => state::WaitsFor::Rollout,
                WaitsFor::Upgrade => state::WaitsFor::Upgrade,
                WaitsFor::Settled => state::WaitsFor::Settled,
                WaitsFor::Exit => state::WaitsFor::Exit,
            },
            wants_events,
        }
    }
}
