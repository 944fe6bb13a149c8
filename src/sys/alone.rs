//! Tests of what a process has only one of, such as its children: each has a process of its own.
#![expect(clippy::disallowed_methods, reason = "tests of system calls look again until they see")]

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Says that this is the process of a single test.
const ALONE: &str = "TEST_ALONE";

/// How long anything may take on a busy machine before it counts as never.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs the body of a test, given by its full name, in a process that runs nothing else.
pub(super) fn alone(test: &str, body: impl FnOnce()) {
    if std::env::var_os(ALONE).is_some() {
        return body();
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(ALONE, "1");
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].map(|it| String::from_utf8_lossy(&it).into_owned());
    let text = text.concat();
    assert!(output.status.success() && text.contains("1 passed"), "{test}:\n{text}");
}

/// Waits until `look` finds something.
pub(super) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A child that does nothing, and ends with the test at the latest: its input is closed then.
pub(super) struct Idle {
    pub(super) pid: i32,
    _child: Child,
}

impl Idle {
    /// Starts one in a group of its own.
    pub(super) fn start() -> Idle {
        let child = Command::new("cat").stdin(Stdio::piped()).process_group(0).spawn().unwrap();
        Idle { pid: child.id().try_into().unwrap(), _child: child }
    }
}
