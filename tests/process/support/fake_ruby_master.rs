//! A stand-in for a Ruby master: the test program binds, starts and holds what a capture of the
//! original speaks of, puts its own numbers into it, asks a candidate as the original does, and
//! executes it with the state in a pipe.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use einhorn::state::Realtime;

use crate::support::rig::{Master, Rig};
use crate::support::wire::Wire;
use crate::support::{wait, worker};

/// The first argument that makes the test program a stand-in.
pub(crate) const FLAG: &str = "--as-original";

/// What it exits with when its candidate is not fit.
pub(crate) const REFUSED: i32 = 3;

/// The edit that loses all of a state.
pub(crate) const LOST: &str = "lost";

/// The numbers of the captures.
const LISTENER: RawFd = 7;
const COMMAND_SERVER: RawFd = 8;

/// What the captures call the program, and what the re-exec command.
const WORKER: &str = "/srv/web/current/bin/worker";
const REEXEC: &str = "/srv/web/current/bin/reexec";

/// A stand-in that is about to hand over, and its clients.
pub(crate) struct Original<'a> {
    rig: &'a Rig,
    child: Child,
    pub(crate) clients: Vec<Wire>,
}

/// A capture, with the paths of the rig, and times that make its last spawn so many seconds old.
pub(crate) fn capture(rig: &Rig, name: &str, age: f64) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/captures");
    let text = fs::read_to_string(format!("{folder}/{name}.yaml")).unwrap();
    let path = |name: &str| rig.path(name).display().to_string();
    let text = text
        .replace(WORKER, &path("worker"))
        .replace(REEXEC, &path("reexec"))
        .replace("/run/web/e.sock", &path("einhorn.sock"))
        .replace("/run/web/", &path("").replace("//", "/"));
    moved(&text, age)
}

/// The same with the youngest time this old.
fn moved(text: &str, age: f64) -> String {
    const DAY: &str = "2026-11-20 ";
    const LENGTH: usize = "2026-11-20 20:20:31.536959395 +00:00".len();
    let seconds = |time: &str| -> f64 {
        let clock: Vec<f64> = time[DAY.len()..LENGTH - " +00:00".len()]
            .split(':')
            .map(|part| part.parse().unwrap())
            .collect();
        clock[0] * 3600.0 + clock[1] * 60.0 + clock[2]
    };
    let times: Vec<String> =
        text.match_indices(DAY).map(|(at, _)| text[at..at + LENGTH].to_owned()).collect();
    let last = times.iter().map(|time| seconds(time)).fold(0.0, f64::max);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let mut text = text.to_owned();
    for time in times {
        let at = now - age - (last - seconds(&time));
        text = text.replace(&time, &Realtime((at * 1e9) as i64).to_string());
    }
    text
}

impl<'a> Original<'a> {
    /// A stand-in with this state, the workers of which do these steps; its clients are connected,
    /// and what the state says that they have sent is read.
    pub(crate) fn new(rig: &'a Rig, state: &str, steps: &[&str]) -> Original<'a> {
        let executable = |name: &str, script: &str| {
            fs::write(rig.path(name), script).unwrap();
            fs::set_permissions(rig.path(name), PermissionsExt::from_mode(0o755)).unwrap();
        };
        let folder = rig.path("").display().to_string();
        let itself = std::env::current_exe().unwrap().display().to_string();
        let flag = worker::FLAG;
        executable(
            "worker",
            &format!(
                "#!/bin/sh\nprintf '%s\\n' \"$@\" >'{folder}/arguments.'$$\n\
                 exec '{itself}' {flag} 'as-in={folder}/steps'\n"
            ),
        );
        executable(
            "reexec",
            &format!("#!/bin/sh\nexec '{}' \"$@\"\n", env!("CARGO_BIN_EXE_einhorn")),
        );
        fs::write(rig.path("template"), state).unwrap();
        set_steps(rig, steps);
        let mut command = rig.command(&itself);
        command.arg0("einhorn: stand-in").args([FLAG, &folder]);
        let child = rig.begin(command);
        let halves = halves(state);
        let listens = || rig.path("listens").exists().then_some(());
        wait::until_some("it listens", listens, || rig.log());
        let clients: Vec<Wire> = halves.iter().map(|_| Wire::connect(rig)).collect();
        for (client, half) in clients.iter().zip(halves) {
            client.send(half);
        }
        Original { rig, child, clients }
    }

    /// Lets it hand over; answers the master that goes on, and the clients.
    pub(crate) fn hand_over(self) -> (Master<'a>, Vec<Wire>) {
        let Original { rig, child, clients } = self;
        fs::write(rig.path("go"), "").unwrap();
        (rig.answering(child, rig.socket()), clients)
    }

    /// Lets it ask for a hand-over that is refused; answers what was said.
    pub(crate) fn refused(mut self) -> String {
        fs::write(self.rig.path("go"), "").unwrap();
        let ended = || self.child.try_wait().unwrap();
        let status = wait::until_some("it ends", ended, || self.rig.log());
        assert_eq!(status.code(), Some(REFUSED), "{}", self.rig.log());
        self.rig.log()
    }
}

/// What workers do that are started from now on.
pub(crate) fn set_steps(rig: &Rig, steps: &[&str]) {
    fs::write(rig.path("steps"), steps.join("\n")).unwrap();
}

/// The half line of each connection of a state.
fn halves(state: &str) -> Vec<String> {
    let connections = state.split("Einhorn::Event::Connection").skip(1);
    let half = |text: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(":read_buffer: '"));
        line.and_then(|line| line.strip_suffix('\'')).unwrap_or_default().to_owned()
    };
    connections.map(half).collect()
}

/// The life of a stand-in.
pub(crate) fn run(folder: &Path) {
    let mut state = fs::read_to_string(folder.join("template")).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    place(listener.as_raw_fd(), LISTENER);
    drop(listener);
    let bound = state.split("- - 127.0.0.1\n    - ").nth(1).unwrap().lines().next().unwrap();
    state = state.replace(bound, &port.to_string());
    for pid in children(&state, "worker") {
        let worker = start_worker(folder);
        state = state.replace(&pid, &worker.to_string());
    }
    let server = UnixListener::bind(folder.join("einhorn.sock")).unwrap();
    File::create(folder.join("listens")).unwrap();
    place(server.as_raw_fd(), COMMAND_SERVER);
    fs::write(folder.join("pid"), std::process::id().to_string()).unwrap();
    File::create(folder.join("lock")).unwrap();
    for (number, half) in (COMMAND_SERVER + 1..).zip(halves(&state)) {
        let (mut client, _) = server.accept().unwrap();
        client.read_exact(&mut vec![0; half.len()]).unwrap();
        place(client.as_raw_fd(), number);
    }
    drop(server);
    let go = || folder.join("go").exists().then_some(());
    wait::until_some("it may go", go, String::new);
    become_candidate(folder, state);
}

/// Opens under this number, for everyone who is executed, what is open under another.
fn place(number: RawFd, wanted: RawFd) {
    // SAFETY: dup2 changes the descriptor table only, and nothing of ours is open from 7 on.
    assert_eq!(unsafe { libc::dup2(number, wanted) }, wanted);
}

/// The pids of the children of a type.
fn children(state: &str, kind: &str) -> Vec<String> {
    let marker = format!(":\n      :type: :{kind}\n");
    let pids = state.match_indices(&marker);
    pids.map(|(at, _)| state[..at].rsplit(' ').next().unwrap().to_owned()).collect()
}

fn start_worker(folder: &Path) -> u32 {
    let mut command = Command::new(folder.join("worker"));
    let socket = folder.join("einhorn.sock");
    command.env("EINHORN_MASTER_PID", std::process::id().to_string());
    command.env("EINHORN_SOCK_PATH", socket).env("EINHORN_FD_COUNT", "1");
    command.env("EINHORN_FD_0", LISTENER.to_string()).process_group(0);
    command.spawn().unwrap().id()
}

fn become_candidate(folder: &Path, mut state: String) {
    let (read, write) = nix::unistd::pipe().unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "read go && exec cat handed"]).current_dir(folder);
    command.stdin(Stdio::piped()).stdout(write).process_group(0);
    #[expect(clippy::zombie_processes, reason = "the candidate reaps it")]
    let mut passer = command.spawn().unwrap();
    // It holds the writing end.
    drop(command);
    for pid in children(&state, "state_passer") {
        state = state.replace(&pid, &passer.id().to_string());
    }
    if let Ok(edits) = fs::read_to_string(folder.join("edits")) {
        for (from, to) in edits.lines().filter_map(|line| line.split_once(" => ")) {
            state = state.replace(&from.replace("\\n", "\n"), to);
        }
        // The process that passes the state has died before it wrote any of it.
        if edits == LOST {
            state.clear();
        }
    }
    fs::write(folder.join("handed"), state).unwrap();
    passer.stdin.take().unwrap().write_all(b"go\n").unwrap();
    let number = inherit(read);
    let candidate = |options: &[&str]| {
        let mut command = Command::new(folder.join("reexec"));
        command.args(options).arg("--").arg(folder.join("worker")).stdout(io::stderr());
        command
    };
    let check = candidate(&["--upgrade-check"]).status().unwrap();
    if !check.success() {
        std::process::exit(REFUSED);
    }
    let error = candidate(&["--with-state-fd", &number.to_string()]).exec();
    panic!("{error}");
}

/// Has a descriptor inherited, under a number that nothing else has.
fn inherit(descriptor: OwnedFd) -> RawFd {
    const STATE: RawFd = 20;
    place(descriptor.as_raw_fd(), STATE);
    STATE
}
