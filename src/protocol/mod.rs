//! The protocol of the command socket (behaviour.md section 7).
//!
//! Parses bounded bytes into lines and lines into requests, and formats replies as lines. No I/O.

mod commands;
mod line;
mod psych;
mod reply;
mod reply_event;
mod request;
mod settings;
mod value;

pub use commands::{COMMANDS, Command, command_list};
pub use line::{LINE_MAX, Line, LineBuffer, escape, unescape};
pub use psych::{Psych, as_yaml, document};
pub use reply::Reply;
pub use reply_event::{End, Numbers, Progress, ProgressStage, ReplyEvent, WorkerFailure};
pub use request::{Args, BadRequest, Request};
pub use settings::{Setting, parse_settings, span};
