//! Real processes: each test starts masters with workers, and leaves nothing behind.
//!
//! The test program is its own worker: `einhorn PROGRAM --as-worker STEP…`, `support/worker.rs`.

mod clients;
mod master;
mod ruby;
mod shell;
mod support;
mod upgrade;
mod workers;

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
    if arguments.next().as_deref() == Some(support::worker::FLAG) {
        support::worker::run(arguments);
        return;
    }
    if std::env::args().nth(1).as_deref() == Some(support::fake_ruby_master::FLAG) {
        support::fake_ruby_master::run(std::path::Path::new(&std::env::args().nth(2).unwrap()));
        return;
    }
    let trials: Vec<Trial> = [
        upgrade::aborts::trials(),
        workers::acks::trials(),
        upgrade::bad_releases::trials(),
        upgrade::canaries::trials(),
        upgrade::capistrano::trials(),
        workers::stderr::trials(),
        upgrade::carried::trials(),
        master::check::trials(),
        workers::client_libraries::trials(),
        clients::many::trials(),
        upgrade::clients::trials(),
        clients::commands::trials(),
        workers::contract::trials(),
        upgrade::deadlines::trials(),
        upgrade::downgrade::trials(),
        ruby::state_dump::trials(),
        upgrade::env_files::trials(),
        upgrade::exec_signals::trials(),
        workers::executables::trials(),
        ruby::handbacks::trials(),
        upgrade::hangs::trials(),
        upgrade::leaks::trials(),
        upgrade::links::trials(),
        master::listeners::trials(),
        master::log::trials(),
        master::process::trials(),
        master::masters::trials(),
        ruby::migrations::trials(),
        workers::orphans::trials(),
        upgrade::pinned::trials(),
        workers::servers::trials(),
        workers::queues::trials(),
        master::races::trials(),
        master::log_readers::trials(),
        workers::recovery::trials(),
        upgrade::refusals::trials(),
        upgrade::rollback::trials(),
        upgrade::rollouts::trials(),
        ruby::peers::trials(),
        shell::sessions::trials(),
        master::shortages::trials(),
        master::signals::trials(),
        master::startup::trials(),
        shell::status::trials(),
        clients::status::trials(),
        upgrade::process_attributes::trials(),
        ruby::takeovers::trials(),
        shell::replies::trials(),
        master::srv_words::trials(),
        workers::inherited::trials(),
        upgrade::wrappers::trials(),
        upgrade::zero_loss::trials(),
    ]
    .into_iter()
    .flatten()
    .collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}
