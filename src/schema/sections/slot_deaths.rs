//! How often workers of each slot exited without having been asked to.

use std::collections::BTreeMap;

use crate::schema::section::section;
use crate::state::Slot;

section! {
    struct SlotDeaths: Other "slot-deaths" {
        deaths: BTreeMap<Slot, u32> = state.slot_deaths,
    }
}
