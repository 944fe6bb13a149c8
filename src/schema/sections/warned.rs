//! What was warned of before.

use crate::schema::section::section;
use crate::state::Generation;

section! {
    struct Warned: Other "warned" {
        generation: Option<Generation> = state.warned_generation,
    }
}
