//! An upgrade in progress.

use serde::{Deserialize, Serialize};

use crate::scalar;
use crate::schema::codec::Text;
use crate::state::{self, ConnectionId, Monotonic, Pid};

/// The master's own step.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Reexec {
    pub kind: UpgradeKind,
    pub stage: Stage,
}

/// What was asked for.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum UpgradeKind {
    Reload,
    Smooth,
    Fleet,
}

/// How far the step is.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Stage {
    Preflight { candidate: Option<i32>, schema: u16, deadline_at_ns: u64, is_overdue: bool },
    HandingOver,
}

/// How new workers take over.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Rollout {
    Smooth,
    Fleet,
}

/// A client that is owed the last line of an upgrade.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Waiter {
    pub connection: u64,
    pub request_id: Option<Scalar>,
    pub waits_for: WaitsFor,
}

/// For what it waits.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum WaitsFor {
    Reexec,
    Rollout,
    Upgrade,
}

/// A request id, as the client chose it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Scalar {
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(Text),
}

impl From<&state::Reexec> for Reexec {
    fn from(reexec: &state::Reexec) -> Reexec {
        let state::Reexec { kind, asked_at: _, stage, is_hand_back: _ } = *reexec;
        Reexec {
            kind: match kind {
                state::UpgradeKind::Reload => UpgradeKind::Reload,
                state::UpgradeKind::Smooth => UpgradeKind::Smooth,
                state::UpgradeKind::Fleet => UpgradeKind::Fleet,
            },
            stage: match stage {
                state::Stage::Preflight { candidate, schema, deadline, is_overdue } => {
                    let candidate = candidate.map(|pid| pid.0);
                    Stage::Preflight { candidate, schema, deadline_at_ns: deadline.0, is_overdue }
                }
                state::Stage::HandingOver => Stage::HandingOver,
            },
        }
    }
}

impl From<Reexec> for state::Reexec {
    fn from(wire: Reexec) -> state::Reexec {
        let Reexec { kind, stage } = wire;
        state::Reexec {
            asked_at: Monotonic(0),
            kind: match kind {
                UpgradeKind::Reload => state::UpgradeKind::Reload,
                UpgradeKind::Smooth => state::UpgradeKind::Smooth,
                UpgradeKind::Fleet => state::UpgradeKind::Fleet,
            },
            stage: match stage {
                Stage::Preflight { candidate, schema, deadline_at_ns, is_overdue } => {
                    let candidate = candidate.map(Pid);
                    let deadline = Monotonic(deadline_at_ns);
                    state::Stage::Preflight { candidate, schema, deadline, is_overdue }
                }
                Stage::HandingOver => state::Stage::HandingOver,
            },
            is_hand_back: false,
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

impl From<&state::Waiter> for Waiter {
    fn from(waiter: &state::Waiter) -> Waiter {
        let state::Waiter {
            connection: ConnectionId(connection),
            request_id,
            waits_for,
            wants_events: _,
        } = waiter;
        Waiter {
            connection: *connection,
            request_id: request_id.as_ref().map(Scalar::from),
            waits_for: match waits_for {
                state::WaitsFor::Reexec => WaitsFor::Reexec,
                state::WaitsFor::Rollout => WaitsFor::Rollout,
                state::WaitsFor::Upgrade => WaitsFor::Upgrade,
                state::WaitsFor::Settled | state::WaitsFor::Exit => WaitsFor::Reexec,
            },
        }
    }
}

impl From<Waiter> for state::Waiter {
    fn from(wire: Waiter) -> state::Waiter {
        let Waiter { connection, request_id, waits_for } = wire;
        state::Waiter {
            connection: ConnectionId(connection),
            request_id: request_id.map(scalar::Scalar::from),
            waits_for: match waits_for {
                WaitsFor::Reexec => state::WaitsFor::Reexec,
                WaitsFor::Rollout => state::WaitsFor::Rollout,
                WaitsFor::Upgrade => state::WaitsFor::Upgrade,
            },
            wants_events: false,
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
