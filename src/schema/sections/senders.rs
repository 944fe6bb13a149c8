//! Who has sent what the connections of workers hold as input.

use std::collections::BTreeMap;

use crate::schema::frozen::frozen;
use crate::schema::handover::CarriedSender;
use crate::schema::section::section;
use crate::state::ConnectionId;

section! {
    struct Senders: Other "senders" {
        senders: BTreeMap<ConnectionId, Vec<Run>> = senders,
    }
}

frozen! {
    struct Run of CarriedSender {
        length: u32,
        pid: i32,
        uid: u32,
    }
}
