//! `--test-note`: a fact of the next release that older ones must not ignore.

use crate::schema::codec::Text;
use crate::schema::section::section;

section! {
    struct Note: Critical "note" {
        text: Option<Text> = state.note,
    }
}
