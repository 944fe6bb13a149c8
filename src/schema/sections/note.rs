//! `--test-note`: a fact of the release after this one that no older one may pass over.

use crate::schema::codec::Text;
use crate::schema::section::section;

section! {
    struct Note: Critical "note" {
        text: Option<Text> = state.note,
    }
}
