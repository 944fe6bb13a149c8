//! Addresses of every kind: bound as they say, and told to the workers.

use std::fs;
use std::io::Read;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use nix::fcntl::OFlag;
use nix::sys::signal::Signal;

use crate::support::ordinary_user::needs_root;
use crate::support::rig::{Master, Rig, names};
use crate::support::{proc, wait};

crate::tests![
    ipv4_and_unix_addresses_are_served_and_named,
    ipv6_addresses_are_served_and_take_ipv4_unless_told_not_to,
    options_are_understood_in_any_case,
    a_udp_address_is_shared_only_when_asked_for,
    unix_sockets_have_the_mode_asked_for_or_that_of_the_umask,
    unix_sockets_are_given_to_owner_and_group,
    a_stale_unix_socket_is_replaced_and_removed_at_the_end,
    a_unix_socket_that_is_not_ours_any_more_is_left_alone,
    every_worker_has_the_same_sockets_under_the_same_numbers,
];

/// The pid that a worker answers with.
fn answer(mut connection: impl Read) -> i32 {
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    answer.trim().parse().unwrap()
}

/// Connects over TCP and answers the worker's pid.
pub(crate) fn ask(host: &str, port: u16) -> i32 {
    let connection = TcpStream::connect((host, port)).unwrap();
    connection.set_read_timeout(Some(wait::PATIENCE)).unwrap();
    answer(connection)
}

fn ask_unix(path: &Path) -> i32 {
    let connection = UnixStream::connect(path).unwrap();
    connection.set_read_timeout(Some(wait::PATIENCE)).unwrap();
    answer(connection)
}

fn ask_udp(host: &str, port: u16) -> i32 {
    let socket = UdpSocket::bind((host, 0)).unwrap();
    socket.set_read_timeout(Some(wait::PATIENCE)).unwrap();
    socket.send_to(b"who?", (host, port)).unwrap();
    let mut buffer = [0; 32];
    let (length, _) = socket.recv_from(&mut buffer).unwrap();
    answer(&buffer[..length])
}

/// A variable of a process's environment.
pub(crate) fn variable(pid: i32, name: &str) -> String {
    let entries = proc::environment(pid).into_iter().map(|entry| entry.into_string().unwrap());
    let find = |entry: String| entry.strip_prefix(name)?.strip_prefix('=').map(str::to_owned);
    entries.into_iter().find_map(find).unwrap()
}

/// Family and type of every listener, as a worker is told them.
fn kinds(worker: i32) -> Vec<String> {
    let count = variable(worker, "EINHORN_FD_COUNT").parse().unwrap();
    let kind = |index: usize| {
        let of = |what: &str| variable(worker, &format!("EINHORN_FD_{what}_{index}"));
        format!("{} {}", of("FAMILY"), of("TYPE"))
    };
    (0..count).map(kind).collect()
}

/// The descriptors of the `-b` listeners in their order.
fn descriptors(master: &Master<'_>) -> Vec<i32> {
    let numbers = master.state()[":bind_fds"].as_sequence().unwrap().clone();
    numbers.iter().map(|number| i32::try_from(number.as_i64().unwrap()).unwrap()).collect()
}

fn has_ipv6() -> bool {
    let found = TcpListener::bind("[::1]:0").is_ok();
    if !found {
        println!("skipped: there is no IPv6 here");
    }
    found
}

fn ipv4_and_unix_addresses_are_served_and_named() {
    let rig = Rig::new();
    let options = ["-b", "127.0.0.1:0", "-b", "unix:listener", "-b", "udp:127.0.0.1:0"];
    let master = rig.start(&[&options[..], &["-m", "0"]].concat(), &["serve"]);
    let worker = master.settled(1)[0];
    assert_eq!(ask("127.0.0.1", master.port(0)), worker);
    assert_eq!(ask_unix(&rig.path("listener")), worker);
    assert_eq!(ask_udp("127.0.0.1", master.port(2)), worker);
    assert_eq!(kinds(worker), ["AF_INET SOCK_STREAM", "AF_UNIX SOCK_STREAM", "AF_INET SOCK_DGRAM"]);
    assert!(master.state()[":bound_ports"][1].is_null());
    for (index, descriptor) in descriptors(&master).iter().enumerate() {
        assert_eq!(variable(worker, &format!("EINHORN_FD_{index}")), descriptor.to_string());
    }
}

fn ipv6_addresses_are_served_and_take_ipv4_unless_told_not_to() {
    if !has_ipv6() {
        return;
    }
    let rig = Rig::new();
    let binds = ["[::1]:0", "[::]:0", "[::]:0,V6Only", "udp:[::1]:0"];
    let options: Vec<&str> = binds.iter().flat_map(|bind| ["-b", bind]).collect();
    let master = rig.start(&[&options[..], &["-m", "0"]].concat(), &["serve"]);
    let worker = master.settled(1)[0];
    for (index, bind) in binds[..3].iter().enumerate() {
        assert_eq!(ask("::1", master.port(index)), worker, "{bind}");
    }
    assert_eq!(ask("127.0.0.1", master.port(1)), worker);
    assert_eq!(ask_udp("::1", master.port(3)), worker);
    // Somebody else may have the IPv4 half of the port, so that only the answer tells.
    if let Ok(mut stranger) = TcpStream::connect(("127.0.0.1", master.port(2))) {
        let mut answer = String::new();
        stranger.set_read_timeout(Some(wait::PATIENCE)).unwrap();
        let _ = stranger.read_to_string(&mut answer);
        assert_ne!(answer.trim(), worker.to_string());
    }
    let stream = "AF_INET6 SOCK_STREAM";
    assert_eq!(kinds(worker), [stream, stream, stream, "AF_INET6 SOCK_DGRAM"]);
}

fn options_are_understood_in_any_case() {
    let rig = Rig::new();
    let cases = [
        ("", vec![], false),
        (",R,N", vec!["r", "n"], true),
        (",So_ReuseAddr,O_NONBLOCK", vec!["r", "n"], true),
        (",r", vec!["r"], false),
        (",n", vec!["n"], true),
    ];
    let binds: Vec<String> = cases.iter().map(|case| format!("127.0.0.1:0{}", case.0)).collect();
    let options: Vec<&str> = binds.iter().flat_map(|bind| ["-b", bind]).collect();
    let master = rig.start(&[&options[..], &["-m", "0"]].concat(), &["wait"]);
    let worker = master.settled(1)[0];
    let descriptors = descriptors(&master);
    for (index, (text, options, nonblocking)) in cases.into_iter().enumerate() {
        let dumped = &master.state()[":bind"][index][2];
        assert_eq!(*dumped, serde_yaml::to_value(options).unwrap(), "{text}");
        let flags = proc::flags(worker, descriptors[index]);
        assert_eq!(flags.contains(OFlag::O_NONBLOCK), nonblocking, "{text}");
    }
}

fn a_udp_address_is_shared_only_when_asked_for() {
    let rig = Rig::new();
    let options = ["-b", "udp:127.0.0.1:0,r", "-b", "udp:127.0.0.1:0", "sleep", "1000"];
    let first = rig.launch(rig.einhorn(&options));
    let shared = format!("udp:127.0.0.1:{},r", first.port(0));
    let alone = format!("udp:127.0.0.1:{}", first.port(1));
    let second = rig.einhorn(&["-c", "second", "-b", &alone, "sleep", "1000"]);
    let refusal = crate::support::failed_starts::refused(&rig, second);
    refusal.assert_says(1, &[&alone, "in use"]);
    let third = rig.einhorn(&["-c", "third", "-b", &shared, "sleep", "1000"]);
    let third = rig.launch_at(third, rig.path("einhorn-third.sock"));
    assert_eq!(third.port(0), first.port(0));
}

fn unix_sockets_have_the_mode_asked_for_or_that_of_the_umask() {
    for (options, umask, mode) in [
        (",mode=0640", "077", 0o640),
        (",Mode=777", "077", 0o777),
        ("", "027", 0o640),
        ("", "000", 0o666),
    ] {
        let rig = Rig::new();
        let bind = format!("unix:listener{options}");
        let script = format!("umask {umask}; exec \"$@\"");
        let _master = rig.launch(rig.shell(&script, &["-b", &bind, "sleep", "1000"]));
        let found = fs::metadata(rig.path("listener")).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "{options:?} under umask {umask}: {found:o}");
    }
}

/// The second entry of a file such as `/etc/passwd`, which is not root's: name and number.
fn second_entry(file: &str) -> (String, u32) {
    let text = fs::read_to_string(file).unwrap();
    let fields: Vec<&str> = text.lines().nth(1).unwrap().split(':').collect();
    (fields[0].to_owned(), fields[2].parse().unwrap())
}

fn unix_sockets_are_given_to_owner_and_group() {
    if !needs_root() {
        return;
    }
    let rig = Rig::new();
    let (user, uid) = second_entry("/etc/passwd");
    let (group, gid) = second_entry("/etc/group");
    let named = format!("unix:named,owner={user},GROUP={group}");
    let binds = ["-b", &named, "-b", "unix:numbered,owner=4321,group=1234,mode=0600"];
    let _master = rig.launch(rig.einhorn(&[&binds[..], &["sleep", "1000"]].concat()));
    let owners = |name: &str| {
        let metadata = fs::metadata(rig.path(name)).unwrap();
        (metadata.uid(), metadata.gid())
    };
    assert_eq!(owners("named"), (uid, gid));
    assert_eq!(owners("numbered"), (4321, 1234));
}

fn a_stale_unix_socket_is_replaced_and_removed_at_the_end() {
    let rig = Rig::new();
    drop(UnixListener::bind(rig.path("listener")).unwrap());
    let mut master = rig.start(&["-b", "unix:listener"], &["serve"]);
    assert_eq!(ask_unix(&rig.path("listener")), master.workers()[0].pid);
    master.signal(Signal::SIGTERM);
    assert!(master.ended().success());
    assert_eq!(names(&rig.path("")), ["einhorn.lock", "einhorn.sock.lock", "log"]);
}

fn a_unix_socket_that_is_not_ours_any_more_is_left_alone() {
    let rig = Rig::new();
    let mut master = rig.start(&["-b", "unix:listener"], &["wait"]);
    fs::remove_file(rig.path("listener")).unwrap();
    let _another = UnixListener::bind(rig.path("listener")).unwrap();
    master.signal(Signal::SIGTERM);
    assert!(master.ended().success());
    UnixStream::connect(rig.path("listener")).unwrap();
}

fn every_worker_has_the_same_sockets_under_the_same_numbers() {
    let rig = Rig::new();
    let binds = ["-b", "127.0.0.1:0", "-b", "unix:listener", "-b", "udp:127.0.0.1:0"];
    let options = [&binds[..], &["-n", "3", "-m", "0"]].concat();
    let master = rig.start(&options, &["wait", "srv:127.0.0.1:0"]);
    let numbers = descriptors(&master);
    assert_eq!(numbers.len(), 3);
    let own = proc::descriptors(master.pid());
    let second = master.replaced(&master.settled(3), 3);
    let word = proc::command_line(second[0]).rsplit(' ').next().unwrap().parse().unwrap();
    for worker in second {
        let theirs = proc::descriptors(worker);
        for number in numbers.iter().chain([&word]) {
            assert!(own[number].to_str().unwrap().starts_with("socket:"));
            assert_eq!(theirs[number], own[number]);
        }
        // A program that is just being started has a library open for a moment.
        master.until("no descriptor is left but these and the standard three", || {
            (proc::descriptors(worker).len() == 4 + 3).then_some(())
        });
    }
}
