//! The command socket, as clients see it.

pub(crate) mod commands; // the command socket as clients see it
pub(crate) mod many; // many, slow, flooding and half-open clients
pub(crate) mod status; // what is told of master, workers and listeners
