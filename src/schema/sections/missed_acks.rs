//! The workers whose ACK took longer than a roll-out allows.

use crate::schema::section::column;

column! {
    struct MissedAcks: Other "missed-acks" {
        missed_ack_deadline: bool,
    }
}
