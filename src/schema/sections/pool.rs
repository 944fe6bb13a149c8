//! The generations, the workers that are ordered, and the state of back-off and pace.

use std::collections::BTreeMap;

use crate::schema::section::section;
use crate::state::{Generation, Monotonic, Realtime, Slot};

section! {
    struct Pool: Base "pool" {
        generation: Generation = state.generation,
        newest_generation: Generation = state.newest_generation,
        ordered: BTreeMap<Slot, Generation> = state.ordered,
        cold_start_count: u32 = state.cold_start_count,
        early_death_count: u32 = state.early_death_count,
        last_spawn_at: Option<Monotonic> = state.last_spawn_at,
        last_spawned_on: Option<Realtime> = state.last_spawned_on,
        pace_used_until: Monotonic = state.pace_used_until,
    }
}
