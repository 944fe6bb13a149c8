//! Real servers of other languages, under load.

use std::collections::BTreeSet;
use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::rig::{Master, Rig, has, send};
use crate::support::{http, wait};

crate::tests![killing_idle_workers_under_load_costs_no_request,];

const WORKERS: usize = 8;
const CLIENTS: usize = 3;
const LASTS: Duration = Duration::from_secs(20);
const KILL_EVERY: Duration = Duration::from_millis(200);

const PYTHON: &str = r#"
import os, socket, socketserver

class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        while self.rfile.readline().strip():
            pass
        body = b"%d" % os.getpid()
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
        self.wfile.write(head + body)

server = socketserver.TCPServer(None, Handler, bind_and_activate=False)
server.socket = socket.socket(fileno=int(os.environ["EINHORN_FD_0"]))
server.serve_forever()
"#;

const RUBY: &str = r#"
require "socket"

server = TCPServer.for_fd(Integer(ENV.fetch("EINHORN_FD_0")))
loop do
  client = server.accept
  nil until client.gets.chomp.empty?
  body = Process.pid.to_s
  client.write "HTTP/1.1 200 OK\r\nContent-Length: #{body.size}\r\n\r\n#{body}"
  client.close
end
"#;

const NODE: &str = r#"
const http = require("node:http");

const server = http.createServer((request, response) => response.end(String(process.pid)));
server.listen({ fd: Number(process.env.EINHORN_FD_0) });
"#;

/// All three together: it is the deaths that take their time.
fn killing_idle_workers_under_load_costs_no_request() {
    thread::scope(|threads| {
        if has("python3") {
            threads.spawn(|| survives_deaths(&[&python()], PYTHON));
        }
        if has("ruby") {
            threads.spawn(|| survives_deaths(&["ruby", "--disable=gems"], RUBY));
        }
        if has("node") {
            threads.spawn(|| survives_deaths(&["node"], NODE));
        }
    });
}

/// The path of the interpreter itself, past the script that a version manager puts before it:
/// that takes longer to start than the server.
fn python() -> String {
    let asked = ["-c", "import sys; print(sys.executable, end='')"];
    let output = Command::new("python3").args(asked).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Kills a random worker that has answered, again and again, while clients ask. A client holds
/// `calm` to read while it asks, and the killer to write until the dead one is reaped: no worker
/// dies with a request at hand, so every request must be answered.
fn survives_deaths(interpreter: &[&str], server: &str) {
    let rig = Rig::new();
    fs::write(rig.path("server"), server).unwrap();
    // Ruby loses a TERM that comes while it starts; the signal timeout ends it all the same.
    let count = WORKERS.to_string();
    let options = ["-n", &count, "-m", "0", "-b", "127.0.0.1:0", "-t", "2"];
    let mut einhorn = rig.einhorn(&options);
    einhorn.args(interpreter).arg("server");
    let mut master = rig.launch(einhorn);
    let port = master.port(0);
    let end = Instant::now() + LASTS;
    let calm = RwLock::new(());
    let answered = Mutex::new(BTreeSet::new());
    let ask = || {
        while Instant::now() < end {
            let quiet = calm.read().unwrap();
            let answer = http::get(port);
            drop(quiet);
            let pid = answer.unwrap_or_else(|error| panic!("{error}\n{}", rig.log()));
            answered.lock().unwrap().insert(pid.parse().unwrap());
        }
    };
    let mut kills = 0;
    thread::scope(|threads| {
        for _ in 0..CLIENTS {
            threads.spawn(ask);
        }
        while Instant::now() < end {
            wait::throughout(KILL_EVERY, || ());
            let victim = serving_worker(&master, &answered);
            let _quiet = calm.write().unwrap();
            send(victim, Signal::SIGKILL);
            let entry = format!("/proc/{victim}");
            master.until("it is reaped", || (!Path::new(&entry).exists()).then_some(()));
            kills += 1;
        }
    });

    let mut workers = master.settled(WORKERS);
    workers.sort();
    assert_eq!(children(master.pid()), workers);
    let log = rig.log();
    assert_eq!(log.matches("killed by SIGKILL").count(), kills, "{log}");
    assert_eq!(log.matches("Exited worker").count(), kills, "{log}");
    assert_eq!(log.matches("Launched").count(), WORKERS + kills, "{log}");
    master.signal(Signal::SIGTERM);
    assert!(master.ended().success());
}

/// Any one of the workers that have answered and live: that replacements serve, their deaths show.
fn serving_worker(master: &Master, answered: &Mutex<BTreeSet<i32>>) -> i32 {
    master.until("a worker that lives has answered", || {
        let mut serving: Vec<i32> = master.workers().iter().map(|worker| worker.pid).collect();
        serving.retain(|pid| answered.lock().unwrap().contains(pid));
        let random = RandomState::new().build_hasher().finish() as usize;
        (!serving.is_empty()).then(|| serving[random % serving.len()])
    })
}

/// The pids of the processes that a process has started and not reaped, dead ones too.
fn children(parent: i32) -> Vec<i32> {
    let threads = format!("/proc/{parent}/task/{parent}/children");
    let pids = fs::read_to_string(threads).unwrap();
    let mut pids: Vec<i32> = pids.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
    pids.sort();
    pids
}
