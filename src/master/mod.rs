//! The shell: owns every descriptor, turns bytes, signals and exits into events, and performs
//! actions. It makes no decisions.

mod child;
mod children;
mod clients;
mod descriptors;
mod environment;
mod files;
mod launch;
mod listeners;
mod log;
mod main_loop;
mod now;
mod program;
mod restore;
mod ruby;
mod running;
mod source;
mod start;
mod status;
mod terminal;
mod upgrade;
mod workers;

pub use launch::Launch;
pub use running::Master;
pub use upgrade::check::check;
pub use upgrade::rollback::Adoption;
