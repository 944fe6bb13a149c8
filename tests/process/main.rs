//! Real processes: each test starts masters with workers, and leaves nothing behind.
//!
//! The test program is its own worker: `einhorn PROGRAM --as-worker STEP…` runs `worker.rs`.

mod recovery; // what dies is replaced, quickly and calmly
mod rig; // a folder, masters in it, and their end
mod wait; // the one place that waits
mod worker; // what the test program does as a worker

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
    let trials: Vec<Trial> = [recovery::trials()].into_iter().flatten().collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}
