//! Frozen types that more than one section uses.

use std::time::Duration;

use crate::scalar;
use crate::schema::codec::Text;
use crate::schema::frozen::frozen;
use crate::schema::handover;
use crate::state::{self, Pid, Slot};

frozen! {
    struct Failure of state::Failure {
        pid: Option<Pid>,
        slot: Slot,
        what: Text,
        age: Duration,
        last_words: Option<Text>,
    }

    struct Killed of state::Killed {
        unhandled_count: u32,
        first_unhandled: Option<Unhandled>,
        overdue_count: u32,
    }

    struct Unhandled of state::Unhandled {
        program: Option<Text>,
        signal: Text,
    }

    struct Identity of handover::Identity {
        device: u64,
        inode: u64,
        file_type: u32,
        cookie: u64,
        is_listening: bool,
    }

    enum Scalar of scalar::Scalar {
        Bool(value: bool),
        Integer(value: i128),
        Float(value: f64),
        Text(value: Text),
    }

    enum UpgradeKind of state::UpgradeKind {
        Reload,
        Smooth,
        Fleet,
    }
}
