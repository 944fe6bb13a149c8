//! What the test program does when einhorn starts it as a worker: the steps it is told, in order.

use std::io::Write;
use std::net::TcpListener;
use std::os::fd::FromRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{SigHandler, Signal, signal};

use crate::wait;

/// The first argument that makes the test program a worker.
pub(crate) const FLAG: &str = "--as-worker";

/// Runs the steps:
///
/// - `ack`: ACKs over the command socket; `ack-given`: over the connection of `-g`;
/// - `ping=ID`: pings over the connection of `-g`, and keeps it;
/// - `report=FOLDER`: writes what it was given to a file named after its pid;
/// - `ignore=SIG`, `sleep=MS`, `exit=CODE`, `raise=SIG`;
/// - `serve`: answers every connection of listener 0 with its pid, for ever;
/// - `wait`: waits for a signal, for ever.
pub(crate) fn run(steps: impl Iterator<Item = String>) {
    let mut given: Option<UnixStream> = None;
    for step in steps {
        let (name, value) = step.split_once('=').unwrap_or((&step, ""));
        match name {
            "ack" => drop(say(connect(), "worker:ack", "")),
            "ack-given" => {
                given = Some(say(given.unwrap_or_else(given_connection), "worker:ack", ""));
            }
            "ping" => {
                let id = format!(", \"request_id\": {value}");
                given = Some(say(given.unwrap_or_else(given_connection), "worker:ping", &id));
            }
            "report" => report(Path::new(value)),
            // SAFETY: ignoring a signal runs no code.
            "ignore" => drop(unsafe { signal(value.parse().unwrap(), SigHandler::SigIgn) }),
            "sleep" => wait::as_told(Duration::from_millis(value.parse().unwrap())),
            "raise" => nix::sys::signal::raise(value.parse::<Signal>().unwrap()).unwrap(),
            "exit" => std::process::exit(value.parse().unwrap()),
            "serve" => serve(),
            "wait" => loop {
                nix::unistd::pause();
            },
            other => panic!("no such step: {other}"),
        }
    }
}

fn number(variable: &str) -> i32 {
    std::env::var(variable).unwrap().parse().unwrap()
}

fn connect() -> UnixStream {
    UnixStream::connect(std::env::var_os("EINHORN_SOCK_PATH").unwrap()).unwrap()
}

fn given_connection() -> UnixStream {
    // SAFETY: the master has given this descriptor to this process for its own.
    unsafe { UnixStream::from_raw_fd(number("EINHORN_SOCK_FD")) }
}

fn say(mut master: UnixStream, command: &str, more: &str) -> UnixStream {
    let pid = std::process::id();
    writeln!(master, "{{\"command\": \"{command}\", \"pid\": {pid}{more}}}").unwrap();
    master
}

fn serve() {
    // SAFETY: the master has given this descriptor to this process.
    let listener = unsafe { TcpListener::from_raw_fd(number("EINHORN_FD_0")) };
    let answer = format!("{}\n", std::process::id());
    for connection in listener.incoming() {
        // A client that left before its answer is no reason to stop.
        let _ = connection.and_then(|mut client| client.write_all(answer.as_bytes()));
    }
}

/// Writes environment, descriptors and `/proc/self/status`, each under a heading.
fn report(folder: &Path) {
    let mut text = String::new();
    text.push_str("# environment\n");
    let mut environment: Vec<String> =
        std::env::vars_os().map(|(name, value)| format!("{name:?}={value:?}\n")).collect();
    environment.sort();
    text.extend(environment);
    text.push_str("# descriptors\n");
    for entry in std::fs::read_dir("/proc/self/fd").unwrap() {
        let path = entry.unwrap().path();
        // The descriptor that reads the folder is gone by now.
        if let Ok(target) = std::fs::read_link(&path) {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if target != Path::new(&format!("/proc/{}/fd", std::process::id())) {
                text.push_str(&format!("{name} {}\n", target.display()));
            }
        }
    }
    text.push_str("# limits\n");
    text.push_str(&std::fs::read_to_string("/proc/self/limits").unwrap());
    text.push_str("# stat\n");
    text.push_str(&std::fs::read_to_string("/proc/self/stat").unwrap());
    text.push_str("# directory\n");
    text.push_str(&format!("{}\n", std::env::current_dir().unwrap().display()));
    text.push_str("# status\n");
    text.push_str(&std::fs::read_to_string("/proc/self/status").unwrap());
    // Whole at once: readers wait for the name.
    let pid = std::process::id();
    let unfinished = folder.join(format!(".{pid}"));
    std::fs::write(&unfinished, text).unwrap();
    std::fs::rename(unfinished, folder.join(pid.to_string())).unwrap();
}
