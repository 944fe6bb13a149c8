//! Many, slow, flooding and half-open clients: the master lives with them all.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use einhorn::protocol::LINE_MAX;
use nix::sys::signal::Signal;

use crate::support::rig::{Master, Rig};
use crate::support::wire::Wire;
use crate::support::{descriptor_limit, proc, wait};

crate::tests![
    idle_clients_up_to_the_limit_cost_next_to_nothing,
    clients_beyond_the_limit_make_the_most_silent_leave,
    clients_that_never_read_are_owed_little,
    clients_that_read_are_never_ahead_of_their_answers,
    signals_are_heard_in_a_flood,
    a_byte_now_and_then_is_a_request_in_the_end,
    halves_of_connections_are_closed,
    few_descriptors_are_no_reason_to_spin_or_to_die,
    everybody_of_a_burst_beyond_the_limit_is_answered,
    the_last_descriptor_serves_one_client_after_the_other,
    without_any_descriptor_left_the_master_waits_for_one,
];

/// `CLIENTS_MAX` of the master, as docs/commands.md tells it.
const CLIENTS_MAX: usize = 4096;

/// `OWED_MAX` of the master: with a reply on top, what a client may be owed that does not read.
const OWED_MAX: u64 = 64 * 1024;

/// Much more than the master takes for a few clients, or for what is idle.
const LITTLE: u64 = 4 << 20;

/// How soon anybody is answered, in hundredths of a second that the master works for others: what
/// it takes however busy the machine is. One reply to each of the others takes a fifth of this in a
/// debug build.
const SOON: u64 = 100;

const FLEET: [&str; 4] = ["-n", "2", "-m", "manual"];

/// Checks that the master commands its fleet as if it were alone with us.
fn assert_attentive(master: &Master<'_>) {
    assert!(master.say("signal", &["WINCH"]).contains("Successfully"));
    master.replaced(&master.settled(2)[..1], 2);
}

fn connect(rig: &Rig) -> UnixStream {
    UnixStream::connect(rig.socket()).unwrap()
}

/// Whether the master has closed a connection that nothing was asked on.
fn is_closed(client: &UnixStream) -> bool {
    client.set_nonblocking(true).unwrap();
    match (&*client).read(&mut [0]) {
        Ok(0) => true,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => true,
        Err(error) if error.kind() == ErrorKind::WouldBlock => false,
        other => panic!("{other:?}"),
    }
}

fn idle_clients_up_to_the_limit_cost_next_to_nothing() {
    if !descriptor_limit::has_room() {
        return;
    }
    let rig = Rig::new();
    let master = rig.start(&FLEET, &["ack", "wait"]);
    master.settled(2);
    let before = proc::memory(master.pid());
    // Room for those that ask meanwhile.
    let clients: Vec<UnixStream> = (0..CLIENTS_MAX - 16).map(|_| connect(&rig)).collect();
    assert_attentive(&master);
    assert!(clients.iter().all(|client| !is_closed(client)));
    let memory = proc::memory(master.pid()) - before;
    assert!(memory < LITTLE, "{memory} bytes for {} clients", clients.len());
    proc::until_idle(master.pid());
}

fn clients_beyond_the_limit_make_the_most_silent_leave() {
    if !descriptor_limit::has_room() {
        return;
    }
    let rig = Rig::new();
    let until = format!("until={}", rig.path("go").display());
    let master = rig.start(&FLEET, &[&until, "ack", "wait"]);
    // The first to come have something to say once all are there, and so become the last to go.
    let mut talkers: Vec<Wire> = (0..20).map(|_| Wire::connect(&rig)).collect();
    let silent: Vec<UnixStream> = (20..CLIENTS_MAX).map(|_| connect(&rig)).collect();
    for talker in &mut talkers {
        talker.ask("{\"command\": \"ehlo\"}");
    }
    let newcomers: Vec<UnixStream> = (0..100).map(|_| connect(&rig)).collect();
    std::fs::write(rig.path("go"), "").unwrap();
    // Their ACKs get in too.
    assert_attentive(&master);
    master.until_logged("Closed the connection of the longest idle client: there are too many");
    assert!(silent[..100].iter().all(is_closed), "the most silent stayed");
    let left = silent.iter().filter(|client| !is_closed(client)).count();
    assert!(left > silent.len() / 2, "{left}");
    assert!(newcomers.iter().all(|client| !is_closed(client)), "a newcomer had to go");
    for talker in &mut talkers {
        talker.ask("{\"command\": \"ehlo\"}");
    }
}

/// Sends a request again and again until the master takes no more; answers whether it took any.
fn flood(client: &UnixStream, request: &[u8]) -> bool {
    client.set_nonblocking(true).unwrap();
    let mut took_some = false;
    loop {
        match (&*client).write(request) {
            Ok(_) => took_some = true,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return took_some,
            Err(error) => panic!("{error}"),
        }
    }
}

fn clients_that_never_read_are_owed_little() {
    let count = 100;
    if !descriptor_limit::has_room() {
        return;
    }
    let rig = Rig::new();
    // The dump has the arguments twice: it takes few of them to fill a client's buffers.
    let master = rig.start(&FLEET, &["ack", "wait", &"x".repeat(16 * 1024)]);
    master.settled(2);
    let before = proc::memory(master.pid());
    let requests = "{\"command\": \"state\"}\n".repeat(500);
    let clients: Vec<UnixStream> = (0..count).map(|_| connect(&rig)).collect();
    while clients.iter().filter(|client| flood(client, requests.as_bytes())).count() > 0 {
        let used = || proc::stat(master.pid()).unwrap().ticks;
        let before = used();
        master.say("ehlo", &[]);
        let meanwhile = used() - before;
        assert!(meanwhile < SOON, "a client had to wait for {meanwhile} ticks of work for others");
    }
    assert_attentive(&master);
    proc::until_idle(master.pid());
    // Buffers grow by doubling, and hold what was asked too.
    let reply = master.say("state", &[]).len() as u64;
    let most = before + count * (2 * (OWED_MAX + reply) + 2 * LINE_MAX as u64);
    let memory = proc::memory(master.pid());
    assert!(memory < most, "{memory} bytes, not {most}, for {count} clients that do not read");
    assert!(!rig.log().contains("Dropped"), "{}", rig.log());
    // They are still there.
    clients.iter().for_each(|client| _ = flood(client, b"\n"));
}

/// Clients that ask as fast as they can and read every answer, while `meanwhile` runs.
fn in_a_flood<T>(rig: &Rig, count: usize, meanwhile: impl FnOnce() -> T) -> T {
    /// Ends the flood, in whatever way the test ends.
    struct End<'a>(&'a AtomicBool);
    impl Drop for End<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let clients: Vec<UnixStream> = (0..count).map(|_| connect(rig)).collect();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _end = End(&is_over);
        for client in &clients {
            client.set_write_timeout(Some(Duration::from_millis(20))).unwrap();
            client.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
            // An empty line is answered too, by much more than it is.
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let _ = (&*client).write(&[b'\n'; 8192]);
                }
            });
            scope.spawn(|| {
                let mut answers = vec![0; 1 << 20];
                while !is_over.load(Ordering::Relaxed) {
                    let _ = (&*client).read(&mut answers);
                }
            });
        }
        meanwhile()
    })
}

fn clients_that_read_are_never_ahead_of_their_answers() {
    let rig = Rig::new();
    let master = rig.start(&FLEET, &["ack", "wait"]);
    master.settled(2);
    let before = proc::memory(master.pid());
    in_a_flood(&rig, 4, || {
        assert_attentive(&master);
        wait::throughout(Duration::from_millis(1500), || {
            let memory = proc::memory(master.pid()) - before;
            assert!(memory < LITTLE, "{memory} bytes for 4 clients");
        });
    });
}

fn signals_are_heard_in_a_flood() {
    let rig = Rig::new();
    let mut master = rig.start(&FLEET, &["ack", "wait"]);
    master.settled(2);
    in_a_flood(&rig, 2, || {
        assert_attentive(&master);
        master.signal(Signal::SIGTERM);
        assert!(master.ended().success());
    });
}

fn a_byte_now_and_then_is_a_request_in_the_end() {
    let rig = Rig::new();
    let master = rig.start(&FLEET, &["ack", "wait"]);
    let mut clients: Vec<Wire> = (0..50).map(|_| Wire::connect(&rig)).collect();
    let request = b"---%0Acommand: ehlo%0Auser: snail%0A";
    for byte in request {
        for client in &clients {
            client.send([*byte]);
        }
        master.say("ehlo", &[]);
    }
    assert_attentive(&master);
    for client in &mut clients {
        assert!(client.is_silent());
        assert!(client.ask("").contains("Welcome, snail!"));
    }
}

fn halves_of_connections_are_closed() {
    let rig = Rig::new();
    let master = rig.start(&FLEET, &["ack", "wait"]);
    let descriptors = || proc::descriptors(master.pid()).len();
    master.settled(2);
    let before = descriptors();
    let half_lines: Vec<Wire> = (0..50).map(|_| Wire::connect(&rig)).collect();
    for client in &half_lines {
        client.send("{\"command\":");
        client.end();
    }
    let deaf: Vec<Wire> = (0..50).map(|_| Wire::connect(&rig)).collect();
    for client in &deaf {
        client.stream().shutdown(std::net::Shutdown::Read).unwrap();
        client.send("{\"command\": \"ehlo\"}\n");
        client.end();
    }
    assert_attentive(&master);
    for client in half_lines {
        assert_eq!(client.rest(), "");
    }
    let closed = || (descriptors() <= before).then_some(());
    master.until("the master has closed them all", closed);
}

/// A master that may have 64 descriptors, and so takes 32 clients.
fn start_small(rig: &Rig) -> Master<'_> {
    let program = std::env::current_exe().unwrap();
    let worker = [program.to_str().unwrap(), crate::support::worker::FLAG, "ack", "wait"];
    let script = "ulimit -n 64; exec \"$@\"";
    let master = rig.launch(rig.shell(script, &[&FLEET[..], &worker].concat()));
    master.settled(2);
    master
}

fn few_descriptors_are_no_reason_to_spin_or_to_die() {
    let rig = Rig::new();
    let mut master = start_small(&rig);
    let clients: Vec<UnixStream> = (0..200).map(|_| connect(&rig)).collect();
    assert_attentive(&master);
    proc::until_idle(master.pid());
    assert!(proc::descriptors(master.pid()).len() < 64);
    let left = clients.iter().filter(|client| !is_closed(client)).count();
    assert!((20..=32).contains(&left), "{left} clients of half of 64 descriptors");
    master.signal(Signal::SIGTERM);
    assert!(master.ended().success());
}

fn everybody_of_a_burst_beyond_the_limit_is_answered() {
    let rig = Rig::new();
    let master = start_small(&rig);
    // They all come while the master looks away.
    master.signal(Signal::SIGSTOP);
    let clients: Vec<Wire> = (0..200).map(|_| Wire::connect(&rig)).collect();
    for client in &clients {
        client.send("{\"command\": \"ehlo\"}\n");
    }
    master.signal(Signal::SIGCONT);
    for mut client in clients {
        assert!(client.line().contains("Welcome"));
    }
}

fn the_last_descriptor_serves_one_client_after_the_other() {
    let rig = Rig::new();
    // A worker's own connection takes one of the master's descriptors, and two while it is made:
    // one is left.
    let script = "ulimit -n 32; exec \"$@\"";
    let options = ["-g", "-n", "40", "-m", "0", "-s", "30", "sleep", "1000"];
    let mut child = rig.begin(rig.shell(script, &options));
    let full = "cannot make its connection: Too many open files";
    wait::until_some("no more fit", || rig.log().contains(full).then_some(()), || rig.log());
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = Wire::connect(&rig);
        assert!(client.ask("{\"command\": \"ehlo\"}").contains("Welcome"));
        clients.push(client);
    }
    let pid = i32::try_from(child.id()).unwrap();
    proc::until_idle(pid);
    assert!(clients.pop().unwrap().ask("{\"command\": \"die\"}").contains("going down"));
    let ended = || child.try_wait().unwrap();
    assert!(wait::until_some("it leaves", ended, || rig.log()).success());
}

/// Sets how many descriptors a process may have; answers how many it might before.
fn limit_descriptors(pid: i32, count: u64) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: prlimit reads one limit and writes the other, where given; both outlive the call.
    unsafe {
        let none = std::ptr::null_mut();
        assert_eq!(libc::prlimit(pid, libc::RLIMIT_NOFILE, none, &mut limit), 0);
        let before = std::mem::replace(&mut limit.rlim_cur, count);
        assert_eq!(libc::prlimit(pid, libc::RLIMIT_NOFILE, &limit, none), 0);
        before
    }
}

fn without_any_descriptor_left_the_master_waits_for_one() {
    let rig = Rig::new();
    let master = rig.start(&FLEET, &["ack", "wait"]);
    master.settled(2);
    // No number is left below this one.
    let before = limit_descriptors(master.pid(), 3);
    let mut client = Wire::connect(&rig);
    client.send("{\"command\": \"ehlo\"}\n");
    master.until_logged("Cannot accept clients for a moment: Too many open files");
    proc::until_idle(master.pid());
    limit_descriptors(master.pid(), before);
    assert!(client.line().contains("Welcome"));
    assert_attentive(&master);
}
