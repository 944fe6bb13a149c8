//! Floor 2: the Ruby Einhorn's shapes (behaviour.md sections 8 and 9). Pure: whoever has a
//! descriptor, a clock or a process calls this.

mod dump;
mod handback;

pub use dump::dump;
pub use handback::{changes, unknown_to_ruby, write};
