//! What the loop's [`crate::sys::poll::Poll`] says is ready: by a number each.

use crate::sys::poll::Interest;

/// A signal has arrived.
pub const SIGNALS_TOKEN: u64 = 0;

/// A client connects.
pub const COMMAND_SOCKET_TOKEN: u64 = 1;

/// The log takes more.
pub const LOG_TOKEN: u64 = 2;

/// A candidate says what it is.
pub const CANDIDATE_REPORT_TOKEN: u64 = 3;

/// It says something else.
pub const CANDIDATE_OUTPUT_TOKEN: u64 = 4;

/// Workers have something to say.
pub const CAPTURED_TOKEN: u64 = 5;

/// The tokens below are the loop's own.
pub const FIRST_TOKEN: u64 = 16;

/// What a connection is watched for at first.
pub const WATCHED: Interest = Interest { read: true, write: false };

const _: () =
    assert!(CAPTURED_TOKEN < FIRST_TOKEN, "the loop's tokens and the connections' must differ");
