//! Real processes: each test starts masters with workers, and leaves nothing behind.
//!
//! The test program is its own worker: `einhorn PROGRAM --as-worker STEP…` runs `worker.rs`.

mod acks; // when a worker counts as up, and what is ignored
mod attempts; // starts that must fail, and that nothing is left of them
mod clients; // many, slow, flooding and half-open clients
mod commands; // the command socket as clients see it
mod contract; // the workers of docs/worker-contract.md, run as they stand there
mod crowd; // room for many connections at once
mod dumps; // the state dump, as Ruby loads it
mod executables; // the program itself: found once, and tried calmly while it fails
mod http; // a client of workers that speak it
mod listeners; // addresses of every kind
mod logs; // what is logged, and how important it is
mod master; // what the master's own process looks like
mod masters; // more than one master, and the files that tell them apart
mod notes; // the signals that workers get, as they note them down
mod ordinary; // an ordinary user, whoever runs the tests
mod orphans; // processes whose parent dies: workers of a killed master, children of workers
mod proc; // what the kernel says of a process
mod programs; // real servers of other languages, under load
mod queues; // connections that wait, and addresses taken up again
mod races; // masters that start at one instant
mod readers; // readers of the log that are gone, full or asleep
mod recovery; // what dies is replaced, quickly and calmly
mod rig; // a folder, masters in it, and their end
mod shell; // einhornsh
mod shortages; // starts for which the system has too little left
mod signals; // signals to the master, and how it stops
mod startup; // bad input and what stands in the way: nothing is left behind
mod terminal; // a pseudo-terminal
mod wait; // the one place that waits
mod wire; // a raw connection to the command socket
mod words; // host names and `srv:` words
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
        dumps::trials(),
        executables::trials(),
        listeners::trials(),
        logs::trials(),
        master::trials(),
        masters::trials(),
        orphans::trials(),
        programs::trials(),
        queues::trials(),
        races::trials(),
        readers::trials(),
        recovery::trials(),
        shell::trials(),
        shortages::trials(),
        signals::trials(),
        startup::trials(),
        words::trials(),
        workers::trials(),
    ]
    .into_iter()
    .flatten()
    .collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}
