//! Clients of the command socket.

pub(super) mod connections;
