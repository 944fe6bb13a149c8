//! `--test-hint`: a fact of the next release that older ones can ignore.

use crate::schema::codec::Text;
use crate::schema::section::section;

section! {
    struct Hint: Other "hint" {
        text: Option<Text> = state.hint,
    }
}
