//! What a candidate reports to the master, in text formats that every release can read and that
//! must never change. Pure: the shell reads and writes the pipes and the command line.

mod candidate_report;
mod pin_message;
mod pinned_from;

pub use candidate_report::{REPORT_MAX, parse_report, write_report};
pub use pin_message::{
    PIN_MAX, PIN_MESSAGE_MAX, PIN_TITLE, Pin, PinnedLimit, difference, parse_pin, write_pin,
};
pub use pinned_from::{ChangedLimit, PinnedFrom};
