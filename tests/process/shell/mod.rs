//! einhornsh.

pub(crate) mod replies; // what einhornsh tells of a command, and its exit status
pub(crate) mod sessions; // einhornsh
pub(crate) mod status; // `status`, as einhornsh shows it
