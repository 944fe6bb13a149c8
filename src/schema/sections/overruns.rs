//! The workers whose ACK took longer than a roll-out allows.

use crate::schema::section::column;

column! {
    struct Overruns: Other "overruns" {
        has_overrun: bool,
    }
}
