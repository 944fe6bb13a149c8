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

/// A test, wherever it stands.
pub(crate) struct Test {
    pub(crate) name: &'static str,
    pub(crate) run: fn(),
}

inventory::collect!(Test);

/// Lists the tests of a module; a function that is not listed is dead code, which CI refuses.
macro_rules! tests {
    ($($name:ident,)*) => {
        $(inventory::submit!(crate::Test {
            name: concat!(module_path!(), "::", stringify!($name)),
            run: $name,
        });)*
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
    let trial = |test: &'static Test| {
        let name = test.name.strip_prefix("process::").unwrap_or(test.name);
        Trial::test(name, || {
            (test.run)();
            Ok(())
        })
    };
    let mut trials: Vec<Trial> = inventory::iter::<Test>.into_iter().map(trial).collect();
    trials.sort_by(|one, other| one.name().cmp(other.name()));
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}
