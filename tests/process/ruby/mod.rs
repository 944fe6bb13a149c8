//! A Ruby Einhorn before this master, after it, or on the other side of the socket.

pub(crate) mod handbacks; // to a Ruby Einhorn
pub(crate) mod migrations; // from a Ruby master to one of ours, and back
pub(crate) mod peers; // Ruby on one side of the command socket
pub(crate) mod state_dump; // the state dump, as Ruby loads it
pub(crate) mod takeovers; // Ruby masters that become ours
