//! The workers whose ACK took longer than `--ack-timeout`.

use crate::schema::section::column;

column! {
    struct MissedAcks: Other "missed-acks" {
        missed_ack_deadline: bool,
    }
}
