//! Signals to the master, and how it stops.

crate::tests![];
