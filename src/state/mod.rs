//! The state: its types, queries and invariants; no decisions and no effects.

mod config;
mod facts;
mod ids;
mod invariants;
mod killed;
mod last_words;
mod leftover;
mod listener;
mod release;
mod rollout;
mod signal;
mod stop;
mod stop_signal;
mod suspension;
mod time;
mod upgrade;
mod worker;

pub use config::{AckMode, Config, Nice, ReexecMode, Verbosity, WORKERS_MAX, default_file_name};
pub use facts::{Connection, State, Stopping};
pub use ids::{ConnectionId, Generation, Pid, Slot};
pub use killed::{Killed, Unhandled};
pub use last_words::{CAPTURED_LINE_MAX, LAST_WORDS_MAX, TAIL_MAX, escape_controls, last_words};
pub use leftover::Leftover;
pub use listener::{Address, Bind, BoundBy, Family, Listener, ListenerOptions};
pub use release::{STATE_FORMAT, release};
pub use rollout::{
    CanaryCheck, Deployment, FAILURES_KEPT, Failure, Rollout, RolloutBounds, RolloutKind,
    RolloutStage, UPGRADE_FAILURES_MIN, VARIABLES_MAX,
};
pub use signal::{ExitStatus, Signal};
pub use stop::{StopProgress, StopSchedule, StopStep};
pub use stop_signal::{Delivery, Disposition, StopSignal};
pub use suspension::{Suspended, Suspension};
pub use time::{Monotonic, Now, Realtime, SECONDS_MAX};
pub use upgrade::{
    CandidateReport, EndedUpgrade, EndingUpgrade, Reexec, Stage, UpgradeKind, Waiter, WaitsFor,
};
pub use worker::{Ping, Worker};
