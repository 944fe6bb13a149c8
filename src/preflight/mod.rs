//! What a candidate says of itself, in words that every release can read, for ever. Pure:
//! whoever has a pipe or a command line calls this.

mod pin;
mod pinned_from;
mod report;

pub use pin::{
    PIN_MAX, PIN_MESSAGE_MAX, PIN_TITLE, Pin, PinnedLimit, difference, parse_pin, write_pin,
};
pub use pinned_from::{ChangedLimit, PinnedFrom};
pub use report::{REPORT_MAX, parse_report, write_report};
