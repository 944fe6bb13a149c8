//! The Ruby Einhorn's formats (behaviour.md sections 8 and 9). Pure: the shell provides the
//! descriptors, clocks and processes.

mod candidate;
mod connection;
mod dump;
mod field;
mod handback;
mod original;
mod scalar;
mod takeover;
mod value;
mod worker;
mod yaml;

pub use candidate::candidate_error;
pub use dump::dump;
pub use handback::{changes, is_handed_back, unknown_to_ruby, write};
pub use original::{Original, STATE_KEYS, STATE_PREFIX};
pub use takeover::{Facts, Found, Parentage, Socket, Takeover};
pub use yaml::STATE_MAX;
