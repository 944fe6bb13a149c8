//! einhorn: runs N copies of a program behind shared sockets.
#![warn(clippy::print_stdout)]

pub mod cli;
pub mod client;
pub mod decide;
pub mod master;
pub mod outcome;
pub mod preflight;
pub mod protocol;
pub mod ruby;
pub mod scalar;
pub mod schema;
pub mod state;
pub mod status;
pub mod sys;
