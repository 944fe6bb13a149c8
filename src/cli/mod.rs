//! The command line of einhorn: its options, what their values mean, and the checks. No I/O.

mod address;
mod adoption_words;
mod env_file;
mod long_option;
mod options;
mod value;

pub use address::parse_bind;
pub use adoption_words::split_at_state_fd;
pub use env_file::parse_variables;
pub use long_option::expand_abbreviations;
pub use options::{
    BindWord, HostFamily, Options, Refusal, Task, default_folder, default_path, parse,
};
pub use value::positive_seconds;
