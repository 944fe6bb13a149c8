//! An upgrade in progress.

use serde::{Deserialize, Serialize};

use crate::scalar;
use crate::schema::codec::Text;
use crate::schema::v2;
use crate::state::{self, Monotonic, Pid};

/// The master's own step.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::schema) struct Reexec {
    pub kind: UpgradeKind,
    pub stage: Stage,
}

/// What was asked for.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::schema) enum UpgradeKind {
    Reload,
    Smooth,
    Fleet,
}

/// How far the step is.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::schema) enum Stage {
    Preflight { candidate: Option<i32>, schema: u16, deadline_at_ns: u64, is_overdue: bool },
    HandingOver,
}

/// How new workers take over.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::schema) enum Rollout {
    Smooth,
    Fleet,
}

/// A client that is owed the last line of an upgrade.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::schema) struct Waiter {
    pub connection: u64,
    pub request_id: Option<Scalar>,
    pub waits_for: WaitsFor,
}

/// For what it waits.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::schema) enum WaitsFor {
    Reexec,
    Rollout,
    Upgrade,
}

/// A request id, as the client chose it.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::schema) enum Scalar {
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(Text),
}

impl From<Reexec> for v2::Reexec {
    fn from(Reexec { kind, stage }: Reexec) -> v2::Reexec {
        v2::Reexec { kind, asked_at_ns: 0, stage }
    }
}

impl From<v2::Reexec> for Reexec {
    fn from(v2::Reexec { kind, asked_at_ns: _, stage }: v2::Reexec) -> Reexec {
        Reexec { kind, stage }
    }
}

impl Rollout {
    /// The roll-out as one goes on with it that counts failures and knows the way back.
    pub(super) fn resumed(self, from: u32, began_at_ns: u64) -> v2::Rollout {
        v2::Rollout {
            kind: self,
            from,
            asked_at_ns: began_at_ns,
            began_at_ns,
            stage: v2::RolloutStage::Replacing,
            failure_count: 0,
            failures: Vec::new(),
        }
    }
}

impl From<Waiter> for v2::Waiter {
    fn from(Waiter { connection, request_id, waits_for }: Waiter) -> v2::Waiter {
        let waits_for = match waits_for {
            WaitsFor::Reexec => v2::WaitsFor::Reexec,
            WaitsFor::Rollout => v2::WaitsFor::Rollout,
            WaitsFor::Upgrade => v2::WaitsFor::Upgrade,
        };
        v2::Waiter { connection, request_id, waits_for, wants_events: false }
    }
}

impl From<v2::Waiter> for Waiter {
    fn from(wire: v2::Waiter) -> Waiter {
        let v2::Waiter { connection, request_id, waits_for, wants_events: _ } = wire;
        let waits_for = match waits_for {
            v2::WaitsFor::Rollout => WaitsFor::Rollout,
            v2::WaitsFor::Upgrade => WaitsFor::Upgrade,
            // Who waits for what this version does not know must not wait for ever: the hand-over
            // that this is written for ends every wait of this kind, whichever way it goes.
            v2::WaitsFor::Reexec | v2::WaitsFor::Settled | v2::WaitsFor::Exit => WaitsFor::Reexec,
        };
        Waiter { connection, request_id, waits_for }
    }
}

impl From<state::UpgradeKind> for UpgradeKind {
    fn from(kind: state::UpgradeKind) -> UpgradeKind {
        match kind {
            state::UpgradeKind::Reload => UpgradeKind::Reload,
            state::UpgradeKind::Smooth => UpgradeKind::Smooth,
            state::UpgradeKind::Fleet => UpgradeKind::Fleet,
        }
    }
}

impl From<UpgradeKind> for state::UpgradeKind {
    fn from(wire: UpgradeKind) -> state::UpgradeKind {
        match wire {
            UpgradeKind::Reload => state::UpgradeKind::Reload,
            UpgradeKind::Smooth => state::UpgradeKind::Smooth,
            UpgradeKind::Fleet => state::UpgradeKind::Fleet,
        }
    }
}

impl From<state::Stage> for Stage {
    fn from(stage: state::Stage) -> Stage {
        match stage {
            state::Stage::Preflight { candidate, schema, deadline, is_overdue } => {
                let candidate = candidate.map(|pid| pid.0);
                Stage::Preflight { candidate, schema, deadline_at_ns: deadline.0, is_overdue }
            }
            state::Stage::HandingOver => Stage::HandingOver,
        }
    }
}

impl From<Stage> for state::Stage {
    fn from(wire: Stage) -> state::Stage {
        match wire {
            Stage::Preflight { candidate, schema, deadline_at_ns, is_overdue } => {
                let (candidate, deadline) = (candidate.map(Pid), Monotonic(deadline_at_ns));
                state::Stage::Preflight { candidate, schema, deadline, is_overdue }
            }
            Stage::HandingOver => state::Stage::HandingOver,
        }
    }
}

impl From<state::RolloutKind> for Rollout {
    fn from(kind: state::RolloutKind) -> Rollout {
        match kind {
            state::RolloutKind::Smooth => Rollout::Smooth,
            state::RolloutKind::Fleet => Rollout::Fleet,
        }
    }
}

impl From<Rollout> for state::RolloutKind {
    fn from(wire: Rollout) -> state::RolloutKind {
        match wire {
            Rollout::Smooth => state::RolloutKind::Smooth,
            Rollout::Fleet => state::RolloutKind::Fleet,
        }
    }
}

impl From<&scalar::Scalar> for Scalar {
    fn from(scalar: &scalar::Scalar) -> Scalar {
        match scalar {
            scalar::Scalar::Bool(value) => Scalar::Bool(*value),
            scalar::Scalar::Integer(value) => Scalar::Integer(*value),
            scalar::Scalar::Float(value) => Scalar::Float(*value),
            scalar::Scalar::Text(value) => Scalar::Text(value.into()),
        }
    }
}

impl From<Scalar> for scalar::Scalar {
    fn from(wire: Scalar) -> scalar::Scalar {
        match wire {
            Scalar::Bool(value) => scalar::Scalar::Bool(value),
            Scalar::Integer(value) => scalar::Scalar::Integer(value),
            Scalar::Float(value) => scalar::Scalar::Float(value),
            Scalar::Text(value) => scalar::Scalar::Text(value.into()),
        }
    }
}
