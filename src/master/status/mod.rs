//! How the master is, for whoever asks.

mod report;
