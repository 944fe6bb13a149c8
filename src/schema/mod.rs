//! The state as bytes. Pure: the shell reads and writes the descriptors and files.
//!
//! A state is an [envelope](Header) that every release can read, and a list of sections. A section
//! is a file in `sections/`: a small struct that never changes once released. New data goes into a
//! new section, and no existing file changes; `state-schema/README.md` has the steps.
//! `sections/note.rs` and `sections/hint.rs`, behind the cargo feature `next`, are examples.

mod codec;
mod describe;
mod envelope;
mod error;
mod frozen;
mod handover;
mod handover_invariants;
mod payload;
mod section;
mod sections;
mod state_bytes;
mod wire;

pub use codec::STATE_MAX;
pub use describe::describe;
pub use envelope::{HEADER_BYTES, Header, read_header};
pub use error::SchemaError;
pub use handover::{
    Carried, CarriedConnection, CarriedFile, CarriedPipe, CarriedSender, Handover, Identity,
    Origin, Role,
};
pub use payload::Decoded;
pub use state_bytes::{decode, encode};
