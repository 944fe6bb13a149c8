//! What a worker leaves running in its process group when its first process ends.

use crate::state::{Monotonic, Worker};

/// The processes that are left in the process group of a worker that was reaped.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Leftover {
    /// The worker. What asked it to stop goes on for these processes.
    pub worker: Worker,
    /// How many processes there are.
    pub count: u32,
    /// The name of the program of one of them; `None` if it is not known.
    pub program: Option<String>,
    /// When they are looked for next.
    pub look_at: Monotonic,
}
