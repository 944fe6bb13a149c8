//! The master's re-exec in progress.

use crate::schema::frozen::frozen;
use crate::schema::section::section;
use crate::schema::wire::UpgradeKind;
use crate::state::{self, Monotonic, Pid};

section! {
    struct Reexec: Critical "reexec" {
        step: Option<Step> = state.reexec,
    }
}

frozen! {
    struct Step of state::Reexec {
        kind: UpgradeKind,
        asked_at: Monotonic,
        stage: Stage,
        is_hand_back: bool,
    }

    enum Stage of state::Stage {
        Preflight { candidate: Option<Pid>, deadline: Monotonic, is_overdue: bool },
        HandingOver,
    }
}
