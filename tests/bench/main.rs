//! `cargo bench`: what the master costs, each figure beside the bare minimum of the same run.
//!
//! Nothing here fails for being slow; docs/benchmarks.md says what each figure means. The program
//! plays the workers and the bare servers itself, see `roles.rs`.

mod fleet; // figures 1 and 5: workers started, and lost and replaced
mod handover; // figure 7: how long nothing is answered during a re-exec
mod idle; // figures 2 and 4: what a master costs that does nothing
mod report; // samples, and how they are printed
mod rig; // a folder, masters in it, and their end
mod roles; // what this program does when it is started by itself
mod round_trip; // figure 3: a command and its answer
mod spawn; // figure 6: how long one start holds the loop
#[allow(dead_code)] // the process tests use all of it
#[path = "../process/support/wait.rs"]
mod wait;

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::Duration;

use rig::Rig;

/// A run that takes longer hangs, on however slow a machine: every figure stops early enough.
const RUN_MAX: Duration = Duration::from_secs(90);

/// How much is measured.
pub(crate) struct Effort {
    /// Rounds of each figure; the median of them is told.
    rounds: u32,
    /// No figure starts another round after this span.
    span: Duration,
    /// Requests in a round.
    requests: usize,
    /// How long an idle master is watched.
    idle: Duration,
    /// Workers of a large fleet.
    many: usize,
}

const FULL: Effort = Effort {
    rounds: 9,
    span: Duration::from_secs(9),
    requests: 20_000,
    idle: Duration::from_secs(10),
    many: 1000,
};

/// Enough to see that all of it still works.
const QUICK: Effort = Effort {
    rounds: 1,
    span: Duration::from_secs(3),
    requests: 500,
    idle: Duration::from_secs(1),
    many: 150,
};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if roles::play(&arguments) {
        return;
    }
    let mut effort = &QUICK;
    for argument in &arguments {
        match argument.as_str() {
            // Cargo adds it in `cargo bench`, and leaves it out where it only tests benches.
            "--bench" => effort = &FULL,
            "--quick" => {}
            other => {
                println!("usage: cargo bench [-- --quick], not {other}");
                std::process::exit(2);
            }
        }
    }
    if arguments.iter().any(|argument| argument == "--quick") {
        effort = &QUICK;
    }
    let rig = Rig::new();
    let finished = watch_over(rig.folder().to_owned());
    report::machine();
    fleet::first_start(&rig, effort);
    idle::wake_ups(&rig, effort);
    round_trip::commands(&rig, effort);
    idle::memory(&rig, effort);
    fleet::replacement(&rig, effort);
    spawn::held(effort);
    handover::silence(&rig, effort);
    report::load();
    drop(finished);
}

/// Ends a run that hangs; dropping the answer calls it off. The masters notice the end of this
/// program by their parent-death signal, and workers by that of their standard input.
fn watch_over(folder: std::path::PathBuf) -> Sender<()> {
    let (finished, waiting) = mpsc::channel();
    std::thread::spawn(move || {
        if waiting.recv_timeout(RUN_MAX) == Err(RecvTimeoutError::Timeout) {
            println!("the run hangs: not finished after {RUN_MAX:?}");
            // It goes with the temporary files of the machine otherwise.
            let _ = std::fs::remove_dir_all(folder);
            std::process::exit(1);
        }
    });
    finished
}
