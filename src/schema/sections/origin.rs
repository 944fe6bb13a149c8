//! How the first image was started.

use crate::schema::codec::{Bytes, Secret};
use crate::schema::section::section;

section! {
    struct Origin: Base "origin" {
        own_path: Bytes = origin.own_path,
        own_name: Bytes = origin.own_name,
        environment: Vec<(Bytes, Secret)> = origin.environment,
        blocked_signals: u64 = origin.blocked_signals,
        open_files_soft: u64 = origin.open_files_soft,
        open_files_hard: u64 = origin.open_files_hard,
        nice: i32 = origin.nice,
    }
}
