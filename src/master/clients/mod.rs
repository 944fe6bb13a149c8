//! Clients of the command socket.

mod accept;
pub(super) mod client_limit;
pub(super) mod connections;
mod membership;
mod senders;
