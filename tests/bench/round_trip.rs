//! Figure 3: a command and its answer, beside the least that an exchange of lines costs.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::report::{Budget, Row, Samples, heading, rounds};
use crate::rig::Rig;
use crate::{Effort, roles, wait};

/// The command with the shortest answer that changes nothing and writes no log.
const REQUEST: &[u8] = b"{\"command\":\"ehlo\",\"user\":\"bench\"}\n";

const SMALL: usize = 4;
const LARGE: usize = 100;

/// Exchanges before it is measured.
const WARM_UP: usize = 200;

/// Figure 3.
pub(crate) fn commands(rig: &Rig, effort: &Effort) {
    let large_socket = rig.path("large.sock");
    let small = rig.start_idle(SMALL, &[]);
    let options = ["-c", "large", "-d", large_socket.to_str().unwrap()];
    let large = rig.start_idle(LARGE, &options);
    let count = effort.requests;
    let measured = rounds(effort, || Round {
        einhorn: exchange(&rig.socket(), count),
        large: exchange(&large_socket, count),
        bare: echo(rig, roles::ECHO, count),
        epoll: echo(rig, roles::EPOLL_ECHO, count),
    });
    drop((small, large));
    heading(3, &format!("A command and its answer, {count} on one connection, one at a time"));
    for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
        let of = |which: fn(&Round) -> &Samples| {
            Samples::new(measured.iter().map(|round| which(round).percentile(share)))
        };
        let bare = of(|round| &round.bare);
        let row = |what: &str, samples: &Samples, budget| {
            let bare = Some(&bare);
            Row { what: &format!("{name} {what}"), unit: "µs", samples, bare, budget }.print();
        };
        let budget = Some(Budget::Times(2.0));
        row(&format!("einhorn, {SMALL} workers, ehlo"), &of(|r| &r.einhorn), budget);
        row(&format!("einhorn, {LARGE} workers, ehlo"), &of(|r| &r.large), budget);
        row("bare: echo server, read and write", &of(|r| &r.bare), None);
        row("an echo server with epoll_wait", &of(|r| &r.epoll), None);
    }
}

/// One round, in microseconds.
struct Round {
    einhorn: Samples,
    large: Samples,
    bare: Samples,
    epoll: Samples,
}

fn echo(rig: &Rig, role: &str, count: usize) -> Samples {
    let path = rig.path("echo.sock");
    let mut server = Command::new(std::env::current_exe().unwrap());
    let mut server = server.arg(role).arg(&path).spawn().unwrap();
    let samples = exchange(&path, count);
    server.wait().unwrap();
    std::fs::remove_file(path).unwrap();
    samples
}

fn exchange(path: &Path, count: usize) -> Samples {
    let connect = || UnixStream::connect(path).ok();
    let mut server = wait::until_some("the server listens", connect, String::new);
    for _ in 0..WARM_UP {
        ask(&mut server);
    }
    Samples::new((0..count).map(|_| {
        let start = Instant::now();
        ask(&mut server);
        start.elapsed().as_secs_f64() * 1e6
    }))
}

fn ask(server: &mut UnixStream) {
    server.write_all(REQUEST).unwrap();
    let mut chunk = [0; 4096];
    loop {
        let length = server.read(&mut chunk).unwrap();
        assert!(length > 0, "the server left");
        if chunk[..length].ends_with(b"\n") {
            return;
        }
    }
}
