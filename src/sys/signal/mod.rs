//! Signals of this process. The handled set is blocked from the first statement of `main` and let
//! in only while [`crate::sys::poll::Poll::wait`] waits: whatever arrives at another moment stays
//! pending in the kernel, so nothing is lost and nothing is fatal, at any instant.

mod exec_shield;

pub(super) use exec_shield::{DEFAULT_ACTION, KERNEL_SET_BYTES, SIGNAL_MAX, Shield};
pub use exec_shield::{
    Mask, Received, Signals, Stranger, die_of_closed_pipes, name, number, set_alarm, take_over,
};
