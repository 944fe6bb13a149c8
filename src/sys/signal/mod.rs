//! Signals of this process. The handled set is blocked from the first statement of `main` on, and
//! unblocked only while [`crate::sys::poll::Poll::wait`] waits: a signal at any other moment stays
//! pending in the kernel, so that none is ever lost or fatal.

mod delivery;
mod disposition;
mod exec_shield;
mod mask;
mod names;

pub use delivery::{Received, Signals};
pub use disposition::set_up;
pub(super) use disposition::{DEFAULT_ACTION, KERNEL_SET_BYTES};
pub(super) use exec_shield::Shield;
pub use exec_shield::{ForeignImage, set_alarm};
pub use mask::Mask;
pub(super) use mask::SIGNAL_MAX;
pub use names::{name, number};
