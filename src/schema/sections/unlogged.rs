//! Log output that has not been written yet.

use crate::schema::codec::Bytes;
use crate::schema::section::section;

section! {
    struct Unlogged: Other "unlogged" {
        bytes: Bytes = unlogged,
    }
}
