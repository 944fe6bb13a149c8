//! Real processes: each test starts masters with workers, and leaves nothing behind.
//!
//! The test program is its own worker: `einhorn PROGRAM --as-worker STEP…` runs `worker.rs`.

mod acks; // when a worker counts as up, and what is ignored
mod clients; // many, slow, flooding and half-open clients
mod commands; // the command socket as clients see it
mod contract; // the workers of docs/worker-contract.md, run as they stand there
mod http; // a client of workers that speak it
mod listeners; // addresses of every kind, and connections that wait in them
mod logs; // what is logged, and readers that are gone, full or asleep
mod programs; // real servers of other languages, under load
mod recovery; // what dies is replaced, quickly and calmly
mod rig; // a folder, masters in it, and their end
mod shell; // einhornsh
mod signals; // signals to the master, and how it stops
mod startup; // files, second masters, bad input: nothing is left behind
mod wait; // the one place that waits
mod worker; // what the test program does as a worker
mod workers; // what a worker is given, and nothing else

use libtest_mimic::{Arguments, Trial};

/// Lists the tests of a module; a function that is not listed is dead code, which CI refuses.
macro_rules! tests {
    ($($name:ident,)*) => {
        pub(crate) fn trials() -> Vec<libtest_mimic::Trial> {
            vec![$(libtest_mimic::Trial::test(
                concat!(module_path!(), "::", stringify!($name)).replacen("process::", "", 1),
                || { $name(); Ok(()) },
            ),)*]
        }
    };
}
pub(crate) use tests;

fn main() {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some(worker::FLAG) {
        worker::run(arguments);
        return;
    }
    let trials: Vec<Trial> = [
        acks::trials(),
        clients::trials(),
        commands::trials(),
        contract::trials(),
        listeners::trials(),
        logs::trials(),
        programs::trials(),
        recovery::trials(),
        shell::trials(),
        signals::trials(),
        startup::trials(),
        workers::trials(),
    ]
    .into_iter()
    .flatten()
    .collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}
