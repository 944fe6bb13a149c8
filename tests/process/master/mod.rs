//! The master itself: how it starts, what it logs, how it stops.

pub(crate) mod check; // what einhorn answers by hand
pub(crate) mod listeners; // addresses of every kind
pub(crate) mod log; // what is logged, and how important it is
pub(crate) mod log_readers; // readers of the log that are gone, full or asleep
pub(crate) mod masters; // more than one master, and the files that tell them apart
pub(crate) mod planted; // what other users plant in the way of a master of root
pub(crate) mod process; // what the master's own process looks like
pub(crate) mod races; // masters that start at one instant
pub(crate) mod shortages; // starts for which the system has too little left
pub(crate) mod signals; // signals to the master, and how it stops
pub(crate) mod srv_words; // host names and `srv:` words
pub(crate) mod startup; // bad input and what stands in the way: nothing is left behind
