//! Connections that wait in a listener, and addresses that are taken up again.

use std::io::Read;
use std::net::TcpStream;

use nix::sys::signal::Signal;

use crate::master::listeners::ask;
use crate::support::rig::Rig;
use crate::support::{descriptor_limit, wait};

crate::tests![
    thousands_that_wait_outlive_the_workers_and_are_served,
    a_restart_needs_not_wait_for_old_connections_to_fade,
    a_backlog_that_the_kernel_shortens_is_told,
];

/// The longest queue that the kernel grants.
fn queue_max() -> usize {
    let text = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
    text.trim().parse().unwrap()
}

fn thousands_that_wait_outlive_the_workers_and_are_served() {
    let count = queue_max().min(3000);
    if !descriptor_limit::has_room() {
        return;
    }
    let rig = Rig::new();
    let until = format!("until={}", rig.path("go").display());
    let options = ["-n", "2", "-b", "127.3.0.1:0", "-l", "4096", "-m", "manual"];
    let master = rig.start(&options, &["ack", &until, "serve"]);
    let address = ("127.3.0.1", master.port(0));
    let mut waiting = Vec::new();
    for _ in 0..3 {
        waiting.extend((0..count / 3).map(|_| TcpStream::connect(address).unwrap()));
        master.replaced(&master.settled(2), 2);
    }
    std::fs::write(rig.path("go"), "").unwrap();
    let workers = master.settled(2);
    for mut client in waiting {
        client.set_read_timeout(Some(wait::PATIENCE)).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(workers.contains(&answer.trim().parse().unwrap()), "{answer}");
    }
}

/// Whether the kernel remembers an ended connection to a port, in the state TIME_WAIT.
fn is_fading(port: u16) -> bool {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let near = format!("0100047F:{port:04X}");
    table.lines().any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields[1] == near && fields[3] == "06"
    })
}

fn a_restart_needs_not_wait_for_old_connections_to_fade() {
    let rig = Rig::new();
    let mut master = rig.start(&["-b", "127.4.0.1:0"], &["serve"]);
    let port = master.port(0);
    ask("127.4.0.1", port);
    master.until("the worker's end fades", || is_fading(port).then_some(()));
    master.signal(Signal::SIGTERM);
    assert!(master.ended().success());
    let master = rig.start(&["-b", &format!("127.4.0.1:{port}")], &["serve"]);
    assert!(is_fading(port));
    assert_eq!(ask("127.4.0.1", port), master.workers()[0].pid);
}

fn a_backlog_that_the_kernel_shortens_is_told() {
    let rig = Rig::new();
    let within = queue_max().to_string();
    for (backlog, told) in [(within.as_str(), false), ("2000000000", true)] {
        let options = ["-l", backlog, "-b", "127.0.0.1:0", "sleep", "1000"];
        let mut master = rig.launch(rig.einhorn(&options));
        let shortened = format!("ERROR: The kernel shortens the backlog from {backlog} to ");
        assert_eq!(rig.log().contains(&shortened), told, "{}", rig.log());
        master.signal(Signal::SIGTERM);
        assert!(master.ended().success());
    }
    let hint = format!("to {}; raise net.core.somaxconn", queue_max());
    assert!(rig.log().contains(&hint), "{}", rig.log());
}
