//! What this program does when it is started by itself: the trivial worker, the bare servers, and
//! a process whose starts of others are timed.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::spawn;

/// ACKs, and waits for the end of its standard input.
pub(crate) const WORKER: &str = "--as-worker";

/// Ends at once.
pub(crate) const NOTHING: &str = "--as-nothing";

/// Answers one connection with what it sends: blocking, or after an epoll_wait(2) each time.
pub(crate) const ECHO: &str = "--as-echo";
pub(crate) const EPOLL_ECHO: &str = "--as-epoll-echo";

/// Starts processes and prints how long each start took.
pub(crate) const SPAWNER: &str = "--as-spawner";

/// Plays the role that the arguments name; answers whether they named one.
pub(crate) fn play(arguments: &[String]) -> bool {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [WORKER] => work(),
        [NOTHING] => {}
        [ECHO, path] => echo(path),
        [EPOLL_ECHO, path] => epoll_echo(path),
        [SPAWNER, way, count] => spawn::time_starts(way, count.parse().unwrap()),
        _ => return false,
    }
    true
}

fn work() {
    let path = std::env::var_os("EINHORN_SOCK_PATH").unwrap();
    let ack = format!("{{\"command\":\"worker:ack\",\"pid\":{}}}\n", std::process::id());
    UnixStream::connect(path).unwrap().write_all(ack.as_bytes()).unwrap();
    // Nobody ever writes there.
    let _ = std::io::stdin().read(&mut [0]);
}

fn echo(path: &str) {
    let mut client = UnixListener::bind(path).unwrap().accept().unwrap().0;
    while answer(&mut client) {}
}

fn epoll_echo(path: &str) {
    let mut client = UnixListener::bind(path).unwrap().accept().unwrap().0;
    client.set_nonblocking(true).unwrap();
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
    epoll.add(&client, EpollEvent::new(EpollFlags::EPOLLIN, 0)).unwrap();
    loop {
        epoll.wait(&mut [EpollEvent::empty(); 64], EpollTimeout::NONE).unwrap();
        if !answer(&mut client) {
            return;
        }
    }
}

fn answer(client: &mut UnixStream) -> bool {
    let mut chunk = [0; 4096];
    let length = client.read(&mut chunk).unwrap();
    client.write_all(&chunk[..length]).unwrap();
    length > 0
}
