//! What the test program does when einhorn starts it as a worker: the steps it is told, in order.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::fd::FromRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use einhorn::client::Client;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction, signal};
use nix::time::{ClockId, clock_gettime};

use crate::support::jobs::jobs;
use crate::support::{load, proc, wait};
use crate::upgrade::process_attributes;
use crate::workers::terminals;

/// The first argument that makes the test program a worker.
pub(crate) const FLAG: &str = "--as-worker";

/// Runs the steps:
///
/// - `ack`: ACKs over the command socket; `ack-given`: over the connection of `-g`;
///   `ack-parent`: for its parent; `ack-heard`: and lives until that is read;
///   `until-acked`: waits until the master has heard it;
/// - `child=STEP`: lets a child of its own do a step, to its end; `child-apart=STEP`: in a process
///   group of its own;
/// - `ping=ID`: pings over the connection of `-g`, and keeps it;
/// - `probe-terminal=FOLDER`: tries what can be done with a terminal, and notes it in a file named
///   after its pid;
/// - `report=FOLDER`: writes what it was given to a file named after its pid;
/// - `hold`: blocks all signals, which wait for `note=FOLDER`: takes one and adds its name to a
///   file of the folder named after its pid;
/// - `until=FILE`: waits until the file is there; `until-index=FOLDER`: until the folder has a file
///   named after this worker's index;
/// - `hold-usr2`: blocks SIGUSR2 for `drain=WORD`: answers every connection of listener 0 with its
///   pid and the word, until SIGUSR2;
/// - `exec=FOLDER`: becomes the file `program` in the folder, there and with another umask and
///   limit; it does the other steps; `exec-beyond=FOLDER`: with a limit that nobody may have.
///   Where that fails, this process goes on;
/// - `as-in=FILE`: the steps in the file, one a line;
/// - `complain=WORDS`: writes a line to standard error, `\n` in it being the end of one;
///   `count=FILE`: writes a line with its pid and a number from 1 up, each in two parts, until the
///   file is there, and then one that ends it;
/// - `exchange=A:B`: makes the file `attacked` beside A, then exchanges the two names for each
///   other, for ever;
/// - `ignore=SIG`, `sleep=MS`, `exit=CODE`, `raise=SIG`; `until-old=MS`: waits until this process
///   is so old;
/// - `eat=MIB`: takes so much memory, and more, until it is killed for it;
/// - `serve`: answers on every announced listener with its pid, for ever; `serve-at=FD`: on this
///   TCP listener, and goes on;
/// - `jobs=FOLDER`: does the jobs that [`crate::support::jobs::Jobs`] asks for, for ever;
/// - `wait`: waits for a signal, for ever.
pub(crate) fn run(mut steps: impl Iterator<Item = String>) {
    let mut given: Option<UnixStream> = None;
    while let Some(step) = steps.next() {
        let (name, value) = step.split_once('=').unwrap_or((&step, ""));
        match name {
            "ack" => {
                end_by_usr2();
                drop(say(connect(), "worker:ack", ""));
            }
            "ack-parent" => {
                let parent = std::os::unix::process::parent_id();
                drop(say_for(parent, connect(), "worker:ack", ""));
            }
            "ack-heard" => {
                end_by_usr2();
                // The master closes the connection then.
                say(connect(), "worker:ack", "").read_to_end(&mut Vec::new()).unwrap();
            }
            "until-acked" => until_acked(),
            "child" => run_as_child(value, false),
            "child-apart" => run_as_child(value, true),
            "eat" => eat(value.parse().unwrap()),
            "ack-given" => {
                end_by_usr2();
                given = Some(say(given.unwrap_or_else(given_connection), "worker:ack", ""));
            }
            "ping" => {
                let id = format!(", \"request_id\": {value}");
                given = Some(say(given.unwrap_or_else(given_connection), "worker:ping", &id));
            }
            "probe-terminal" => terminals::probe(Path::new(value)),
            "report" => report(Path::new(value)),
            "hold" => SigSet::all().thread_block().unwrap(),
            "note" => note(Path::new(value)),
            "until" => until(Path::new(value)),
            "until-index" => {
                until(&Path::new(value).join(number("EINHORN_CHILD_INDEX").to_string()));
            }
            "hold-usr2" => load::hold(),
            "drain" => load::drain(value),
            "exec" | "exec-beyond" => {
                let others: Vec<String> = steps.collect();
                process_attributes::change(Path::new(value), name == "exec-beyond", &others);
                return run(others.into_iter());
            }
            "as-in" => run(steps_in(Path::new(value)).into_iter()),
            "complain" => complain(&format!("{}\n", value.replace("\\n", "\n"))),
            "count" => count(Path::new(value)),
            // SAFETY: ignoring a signal runs no code.
            "ignore" => drop(unsafe { signal(value.parse().unwrap(), SigHandler::SigIgn) }),
            "exchange" => exchange(value),
            "until-old" => until_old(Duration::from_millis(value.parse().unwrap())),
            "sleep" => wait::as_told(Duration::from_millis(value.parse().unwrap())),
            "raise" => nix::sys::signal::raise(value.parse::<Signal>().unwrap()).unwrap(),
            "exit" => std::process::exit(value.parse().unwrap()),
            "jobs" => jobs(Path::new(value)),
            "serve" => {
                end_by_usr2();
                serve();
            }
            "serve-at" => serve_at(value.parse().unwrap(), "AF_INET", "SOCK_STREAM"),
            "wait" => {
                end_by_usr2();
                loop {
                    nix::unistd::pause();
                }
            }
            other => panic!("no such step: {other}"),
        }
    }
}

/// Handles SIGUSR2, unless it is ignored or handled already, and then ends by it, as programs do
/// that have drained.
fn end_by_usr2() {
    extern "C" fn end(_: i32) {
        // The handler is gone by now.
        let _ = nix::sys::signal::raise(Signal::SIGUSR2);
    }
    let flags = SaFlags::SA_RESETHAND | SaFlags::SA_NODEFER;
    let handler = SigAction::new(SigHandler::Handler(end), flags, SigSet::empty());
    // SAFETY: the handler calls nothing but raise(3), which a handler may.
    let before = unsafe { sigaction(Signal::SIGUSR2, &handler) }.unwrap();
    if !matches!(before.handler(), SigHandler::SigDfl) {
        // SAFETY: it was in place before.
        unsafe { sigaction(Signal::SIGUSR2, &before) }.unwrap();
    }
}

fn exchange(names: &str) {
    let (one, other) = names.split_once(':').unwrap();
    File::create(Path::new(one).with_file_name("attacked")).unwrap();
    loop {
        // Either may not be there yet.
        let _ = renameat2(AT_FDCWD, one, AT_FDCWD, other, RenameFlags::RENAME_EXCHANGE);
    }
}

fn number(variable: &str) -> i32 {
    std::env::var(variable).unwrap().parse().unwrap()
}

fn socket() -> PathBuf {
    std::env::var_os("EINHORN_SOCK_PATH").unwrap().into()
}

fn connect() -> UnixStream {
    UnixStream::connect(socket()).unwrap()
}

pub(super) fn given_connection() -> UnixStream {
    // SAFETY: the master has given this descriptor to this process for its own.
    unsafe { UnixStream::from_raw_fd(number("EINHORN_SOCK_FD")) }
}

fn say(master: UnixStream, command: &str, more: &str) -> UnixStream {
    say_for(std::process::id(), master, command, more)
}

fn say_for(pid: u32, mut master: UnixStream, command: &str, more: &str) -> UnixStream {
    writeln!(master, "{{\"command\": \"{command}\", \"pid\": {pid}{more}}}").unwrap();
    master
}

fn until_acked() {
    let pid = usize::try_from(std::process::id()).unwrap();
    let look = || {
        let mut master = Client::connect(&socket()).unwrap();
        let dump = master.request("state", &[]).unwrap().next().unwrap().unwrap().message;
        let dump: serde_yaml::Value = serde_yaml::from_str(&dump).unwrap();
        dump[":state"][":children"][pid][":acked"].as_bool().unwrap().then_some(())
    };
    wait::until_some("the ACK is heard", look, String::new);
}

/// What came before, such as a start on a slow machine, is part of the time.
fn until_old(age: Duration) {
    let now = Duration::from(clock_gettime(ClockId::CLOCK_BOOTTIME).unwrap());
    let begun = proc::stat(std::process::id().cast_signed()).unwrap().started_after;
    wait::as_told((begun + age).saturating_sub(now));
}

fn run_as_child(step: &str, is_apart: bool) {
    let mut child = Command::new(std::env::current_exe().unwrap());
    if is_apart {
        child.process_group(0);
    }
    assert!(child.args([FLAG, step]).status().unwrap().success());
}

/// Takes memory until there is none, and ends then as the kernel ends who takes too much.
fn eat(mib: usize) {
    let own = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = own.split(' ').next().unwrap().parse().unwrap();
    let most = pages * 4096 + u64::try_from(mib << 20).unwrap();
    setrlimit(Resource::RLIMIT_AS, most, most).unwrap();
    let mut eaten: Vec<u8> = Vec::new();
    while eaten.try_reserve_exact(eaten.len() + (1 << 20)).is_ok() {
        eaten.resize(eaten.capacity(), 1);
    }
    nix::sys::signal::raise(Signal::SIGKILL).unwrap();
}

fn serve() {
    for index in 0..number("EINHORN_FD_COUNT") {
        let named = |what: &str| std::env::var(format!("EINHORN_FD_{what}_{index}")).unwrap();
        serve_at(number(&format!("EINHORN_FD_{index}")), &named("FAMILY"), &named("TYPE"));
    }
    loop {
        nix::unistd::pause();
    }
}

/// Answers on a listener from now on, besides whatever else is done.
fn serve_at(descriptor: i32, family: &str, kind: &str) {
    // SAFETY: the master has given this descriptor to this process, and says what it is.
    unsafe {
        match (family, kind) {
            (_, "SOCK_DGRAM") => {
                let socket = UdpSocket::from_raw_fd(descriptor);
                thread::spawn(move || answer_datagrams(&socket));
            }
            ("AF_UNIX", _) => {
                let listener = UnixListener::from_raw_fd(descriptor);
                thread::spawn(move || answer(listener.incoming()));
            }
            _ => {
                let listener = TcpListener::from_raw_fd(descriptor);
                thread::spawn(move || answer(listener.incoming()));
            }
        }
    }
}

fn answer<C: Write>(connections: impl Iterator<Item = io::Result<C>>) {
    let pid = format!("{}\n", std::process::id());
    for connection in connections {
        // A client that left before its answer is no reason to stop.
        let _ = connection.and_then(|mut client| client.write_all(pid.as_bytes()));
    }
}

fn answer_datagrams(socket: &UdpSocket) {
    let pid = format!("{}\n", std::process::id());
    while let Ok((_, client)) = socket.recv_from(&mut []) {
        let _ = socket.send_to(pid.as_bytes(), client);
    }
}

fn note(folder: &Path) {
    let signal = SigSet::all().wait().unwrap();
    let file = folder.join(std::process::id().to_string());
    let mut file = File::options().create(true).append(true).open(file).unwrap();
    writeln!(file, "{signal}").unwrap();
}

fn complain(words: &str) {
    io::stderr().write_all(words.as_bytes()).unwrap();
}

fn count(file: &Path) {
    let pid = std::process::id();
    let mut number = 1;
    while !file.exists() {
        for part in [format!("{pid} "), format!("{number}\n")] {
            complain(&part);
            wait::as_told(Duration::from_millis(1));
        }
        number += 1;
    }
    complain(&format!("{pid} {number}\n"));
}

fn steps_in(file: &Path) -> Vec<String> {
    std::fs::read_to_string(file).unwrap().lines().map(str::to_owned).collect()
}

pub(super) fn until(file: &Path) {
    let look = || file.exists().then_some(());
    wait::until_some("the file is there", look, || file.display().to_string());
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
