//! Clients of the command socket.

mod accept;
pub(super) mod connections;
mod membership;
mod senders;
