//! Real processes: each test starts masters with workers, and leaves nothing behind.
//!
//! The test program is its own worker: `einhorn PROGRAM --as-worker STEP…` runs `worker.rs`.

mod aborts; // upgrades that are stopped
mod acks; // when a worker counts as up, and what is ignored
mod asked; // commands asked by the real einhornsh, and what it told
mod attempts; // starts that must fail, and that nothing is left of them
mod bad_releases; // releases that fail in every way, and hurt nobody
mod canaries; // the first new worker of a smooth upgrade
mod capistrano; // deploys of releases behind a symlink
mod captured; // what workers say, where the master listens
#[path = "../captures/mod.rs"]
mod captures; // what a Ruby Einhorn handed to itself, and the same of ours
mod carried; // what travels besides workers
mod check; // what einhorn answers by hand
mod checker; // what an upgrade leaves as it was
mod client_libraries; // workers that use the libraries of others
mod clients; // many, slow, flooding and half-open clients
mod clients_across; // clients and workers that talk across a re-exec
mod commands; // the command socket as clients see it
mod contract; // the workers of docs/worker-contract.md, run as they stand there
mod crowd; // room for many connections at once
mod deadlines; // timers that no re-exec stops or begins anew
mod deploys; // releases side by side, and a symlink to the newest
mod downgrade; // to the next release and back
mod dumps; // the state dump, as Ruby loads it
mod env_files; // variables that each generation keeps
mod exec_signals; // signals around the exec
mod executables; // the program itself: found once, and tried calmly while it fails
mod handbacks; // to a Ruby Einhorn
mod hangs; // candidates and wrappers that take their time
mod http; // a client of workers that speak it
#[path = "../pure/json_schema.rs"]
mod json_schema; // JSON documents against their schemas
mod leaks; // what many upgrades leave as it was
mod links; // --chdir with a symbolic link that leads now here and now there
mod listeners; // addresses of every kind
mod logs; // what is logged, and how important it is
mod master; // what the master's own process looks like
mod masters; // more than one master, and the files that tell them apart
mod meanwhile; // work on the side while a test goes on
mod migrations; // from a Ruby master to one of ours, and back
mod moment; // what the state dump says of the workers at one moment
mod notes; // the signals that workers get, as they note them down
mod ordinary; // an ordinary user, whoever runs the tests
mod original; // a stand-in for a Ruby master that hands over
mod orphans; // processes whose parent dies: workers of a killed master, children of workers
mod other_release; // a symlink that leads now to one build of einhorn and now to another
mod pinned; // a wrapper that runs once, and what it has executed
mod played; // a master that the test plays: it answers by a script
mod proc; // what the kernel says of a process
mod programs; // real servers of other languages, under load
mod queues; // connections that wait, and addresses taken up again
mod races; // masters that start at one instant
mod readers; // readers of the log that are gone, full or asleep
mod recovery; // what dies is replaced, quickly and calmly
mod refusals; // what is not upgraded to, and why
mod releases; // other releases, and files of every kind of unfitness
mod rig; // a folder, masters in it, and their end
mod rollback; // a next release that fails after the exec
mod rollouts; // how new workers take over from old ones
mod ruby; // Ruby as a reader of YAML, and as a master
mod ruby_peers; // Ruby on one side of the command socket
mod serving; // workers that drain, and clients that count what is lost
mod shell; // einhornsh
mod shortages; // starts for which the system has too little left
mod signals; // signals to the master, and how it stops
mod startup; // bad input and what stands in the way: nothing is left behind
mod status; // what is told of master, workers and listeners
mod status_shown; // `status`, as einhornsh shows it
mod surroundings; // what an exec changes besides the program
mod takeovers; // Ruby masters that become ours
mod telling; // what einhornsh tells of a command, and its exit status
mod terminal; // a pseudo-terminal
mod wait; // the one place that waits
mod wire; // a raw connection to the command socket
mod words; // host names and `srv:` words
mod worker; // what the test program does as a worker
mod workers; // what a worker is given, and nothing else
mod wrappers; // scripts that run in the master's place
mod zero_loss; // no connection is lost, whatever is upgraded and how often

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
    if std::env::args().nth(1).as_deref() == Some(original::FLAG) {
        original::run(std::path::Path::new(&std::env::args().nth(2).unwrap()));
        return;
    }
    let trials: Vec<Trial> = [
        aborts::trials(),
        acks::trials(),
        bad_releases::trials(),
        canaries::trials(),
        capistrano::trials(),
        captured::trials(),
        carried::trials(),
        check::trials(),
        client_libraries::trials(),
        clients::trials(),
        clients_across::trials(),
        commands::trials(),
        contract::trials(),
        deadlines::trials(),
        downgrade::trials(),
        dumps::trials(),
        env_files::trials(),
        exec_signals::trials(),
        executables::trials(),
        handbacks::trials(),
        hangs::trials(),
        leaks::trials(),
        links::trials(),
        listeners::trials(),
        logs::trials(),
        master::trials(),
        masters::trials(),
        migrations::trials(),
        orphans::trials(),
        pinned::trials(),
        programs::trials(),
        queues::trials(),
        races::trials(),
        readers::trials(),
        recovery::trials(),
        refusals::trials(),
        rollback::trials(),
        rollouts::trials(),
        ruby_peers::trials(),
        shell::trials(),
        shortages::trials(),
        signals::trials(),
        startup::trials(),
        status_shown::trials(),
        status::trials(),
        surroundings::trials(),
        takeovers::trials(),
        telling::trials(),
        words::trials(),
        workers::trials(),
        wrappers::trials(),
        zero_loss::trials(),
    ]
    .into_iter()
    .flatten()
    .collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}
