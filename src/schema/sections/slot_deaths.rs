//! How often workers of an index ended though nobody had told them to.

use std::collections::BTreeMap;

use crate::schema::section::section;
use crate::state::Slot;

section! {
    struct SlotDeaths: Other "slot-deaths" {
        deaths: BTreeMap<Slot, u32> = state.slot_deaths,
    }
}
