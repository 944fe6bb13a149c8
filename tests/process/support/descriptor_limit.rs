//! Many connections at once: room for them in the test program.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// How many descriptors all tests with crowds need that may run at one time, and more than twice
/// what a master needs for as many clients as it takes.
const DESCRIPTORS: u64 = 16 * 1024;

/// Makes room for a crowd, here and in the masters started from now on; says so when there can be
/// none.
pub(crate) fn has_room() -> bool {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    }
    if hard < DESCRIPTORS {
        println!("skipped: {DESCRIPTORS} descriptors are needed, and {hard} allowed");
    }
    hard >= DESCRIPTORS
}
