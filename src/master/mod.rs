//! The shell: owns every descriptor, turns bytes, signals and exits into events, and performs
//! actions. It makes no decisions.

mod child;
mod children;
mod clients;
mod command_socket;
mod created_files;
mod descriptors;
mod environment;
mod folder_lock;
mod inspection;
mod launch;
mod leftovers;
mod listeners;
mod locks;
mod log;
mod lost_resources;
mod main_loop;
mod now;
mod pid_file;
mod program;
mod ruby;
mod running_master;
mod source;
mod start;
mod status;
mod terminal;
mod unix_socket;
mod upgrade;
mod workers;

pub use launch::Launch;
pub use running_master::Master;
pub use upgrade::rollback::Adoption;
pub use upgrade::upgrade_check::check;
