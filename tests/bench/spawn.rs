//! Figure 6: how long the start of one worker holds the loop, which serves nobody meanwhile.

use std::process::Command;
use std::time::Instant;

use einhorn::sys::{limit, session, signal, spawn};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use crate::report::{Row, Samples, heading, rounds};
use crate::{Effort, fleet, roles};

const STARTS: usize = 100;
const OURS: &str = "ours";
const POSIX: &str = "posix";

/// Figure 6.
pub(crate) fn held(effort: &Effort) {
    let measured = rounds(effort, || (starts(OURS), starts(POSIX)));
    let ours = Samples::new(measured.iter().map(|round| round.0.percentile(0.5)));
    let posix = Samples::new(measured.iter().map(|round| round.1.percentile(0.5)));
    heading(6, "How long one start holds the loop");
    let bare = Some(&posix);
    let what = "einhorn's start of a worker";
    Row { what, unit: "µs", samples: &ours, bare, budget: None }.print();
    Row { what: "bare: posix_spawn", unit: "µs", samples: &posix, bare: None, budget: None }
        .print();
}

/// Lets another process do it: einhorn's way begins with blocking the signals that it handles.
fn starts(way: &str) -> Samples {
    let mut spawner = Command::new(std::env::current_exe().unwrap());
    let output = spawner.args([roles::SPAWNER, way, &STARTS.to_string()]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let words = String::from_utf8(output.stdout).unwrap();
    Samples::new(words.split_whitespace().map(|word| word.parse::<f64>().unwrap()))
}

/// Prints how many microseconds each start took.
pub(crate) fn time_starts(way: &str, count: usize) {
    let environment = fleet::environment(None);
    let arguments = fleet::words(roles::NOTHING);
    let mask = signal::set_up().unwrap();
    let plan = spawn::Plan {
        program: spawn::Program::Path(&arguments[0]),
        arguments: &arguments,
        environment: &environment,
        directory: None,
        inherited: &[],
        stdio: None,
        leads: session::Leads::Group,
        mask,
        open_files: limit::open_files().unwrap(),
        nice: None,
        death_signal: None,
    };
    for _ in 0..count {
        let start = Instant::now();
        let pid = match way {
            POSIX => fleet::launch(&arguments, &environment),
            _ => Pid::from_raw(spawn::spawn(&plan).unwrap().pid),
        };
        println!("{}", start.elapsed().as_secs_f64() * 1e6);
        waitpid(pid, None).unwrap();
    }
}
