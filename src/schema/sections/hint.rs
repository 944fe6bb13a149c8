//! `--test-hint`: a fact of the release after this one that an older one does without.

use crate::schema::codec::Text;
use crate::schema::section::section;

section! {
    struct Hint: Other "hint" {
        text: Option<Text> = state.hint,
    }
}
