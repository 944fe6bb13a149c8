//! The roll-out in progress.

use crate::schema::frozen::frozen;
use crate::schema::section::section;
use crate::schema::wire::{Failure, Killed};
use crate::state::{self, Generation, Monotonic, Pid};

section! {
    struct Rollout: Critical "rollout" {
        rollout: Option<UnderWay> = state.rollout,
    }
}

frozen! {
    struct UnderWay of state::Rollout {
        kind: RolloutKind,
        from: Generation,
        asked_at: Monotonic,
        began_at: Monotonic,
        stage: RolloutStage,
        failure_count: u32,
        failures: Vec<Failure>,
        killed: Killed,
    }

    enum RolloutKind of state::RolloutKind {
        Smooth,
        Fleet,
    }

    enum RolloutStage of state::RolloutStage {
        Canary { check: Option<CanaryCheck> },
        Replacing,
    }

    struct CanaryCheck of state::CanaryCheck {
        worker: Pid,
        process: Option<Pid>,
        deadline: Monotonic,
        is_overdue: bool,
    }
}
