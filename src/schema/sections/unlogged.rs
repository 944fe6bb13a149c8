//! What the log owes its reader.

use crate::schema::codec::Bytes;
use crate::schema::section::section;

section! {
    struct Unlogged: Other "unlogged" {
        bytes: Bytes = unlogged,
    }
}
