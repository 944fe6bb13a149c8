//! How the last upgrade ended.

use std::time::Duration;

use crate::outcome::Outcome;
use crate::schema::codec::{Bytes, Text};
use crate::schema::frozen::{Frozen, frozen};
use crate::schema::section::section;
use crate::schema::wire::{Failure, Killed, UpgradeKind};
use crate::state::{self, Generation, Realtime};

section! {
    struct LastUpgrade: Other "last-upgrade" {
        ended: Option<EndedUpgrade> = state.last_upgrade,
    }
}

frozen! {
    struct EndedUpgrade of state::EndedUpgrade {
        kind: UpgradeKind,
        generation: Generation,
        directory: Option<Bytes>,
        outcome: Text,
        message: Text,
        took: Duration,
        ended_on: Realtime,
        failures: Vec<Failure>,
        killed: Killed,
        killed_later_count: u32,
    }
}

/// An outcome is written by name.
impl Frozen<Outcome> for Text {
    fn freeze(outcome: &Outcome) -> Text {
        Text(outcome.name().to_owned())
    }

    fn thaw(self) -> Result<Outcome, String> {
        let found = Outcome::ALL.iter().find(|outcome| outcome.name() == self.0);
        found.copied().ok_or_else(|| "`outcome` is not a known outcome".to_owned())
    }
}
