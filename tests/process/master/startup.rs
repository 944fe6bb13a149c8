//! Bad input and what stands in the way: told in one line, and nothing is left behind.

use std::fs::{self, File, Permissions};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;

use crate::support::failed_starts::{Refusal, refused};
use crate::support::ordinary_user;
use crate::support::rig::{Rig, names};

crate::tests![
    no_program_prints_the_usage,
    help_and_version_are_printed_and_nothing_else_done,
    bad_values_are_told_with_option_and_bound,
    bad_addresses_are_told_with_what_would_be_right,
    options_of_ruby_are_refused_by_name,
    addresses_that_cannot_be_bound_are_told,
    files_that_cannot_be_had_are_told,
    what_an_ordinary_user_may_not_is_told,
    paths_are_relative_to_the_folder_of_the_start,
];

/// A refused start with these arguments.
fn attempt(rig: &Rig, arguments: &[&str]) -> Refusal {
    refused(rig, rig.einhorn(arguments))
}

fn no_program_prints_the_usage() {
    let rig = Rig::new();
    for arguments in [&[][..], &["-n", "3"], &["-b", "127.0.0.1:0", "--"]] {
        let refusal = attempt(&rig, arguments);
        assert_eq!(refusal.code, Some(1), "{refusal:?}");
        assert!(refusal.stdout.starts_with("## Usage\n"), "{refusal:?}");
        assert!(refusal.stdout.contains("--bind"), "{refusal:?}");
        assert_eq!(refusal.stderr, "", "{refusal:?}");
    }
}

fn help_and_version_are_printed_and_nothing_else_done() {
    let rig = Rig::new();
    for (option, contained) in [
        ("-h", "--kill-children-on-exit"),
        ("--help", "--max-upgrade-additional"),
        ("--version", env!("CARGO_PKG_VERSION")),
    ] {
        let refusal = attempt(&rig, &["-b", "127.0.0.1:0", option, "true"]);
        assert_eq!((refusal.code, refusal.stderr.as_str()), (Some(0), ""));
        assert!(refusal.stdout.contains(contained), "{refusal:?}");
    }
}

fn bad_values_are_told_with_option_and_bound() {
    let rig = Rig::new();
    for (option, values, bound) in [
        ("--number", &["0", "-1", "2.5", "many", "10001", ""][..], "from 1 to 10000"),
        ("--seconds", &["0", "-1", "nan", "inf", "1e10"], "above 0"),
        ("--seconds", &["soon"], "number of seconds"),
        ("--signal-timeout", &["0", "-3"], "above 0"),
        ("--ack-mode", &["soon", "-1", "nan"], "`manual`"),
        ("--backlog", &["0", "99999999999"], "from 1 to 2147483647"),
        ("--retries", &["0", "-1"], "from 1 to"),
        ("--max-unacked", &["0"], "from 1 to 10000"),
        ("--max-upgrade-additional", &["0"], "from 1 to 10000"),
        ("--nice", &["20", "-21:0", "x"], "-20 to 19"),
        ("--nice", &["0:0:it's"], "RENICE_CMD"),
        ("--reexec-as", &["it's"], "shell words"),
        ("--reexec-as", &[""], "command"),
        ("--command-name", &["a/b"], "must not be empty or contain '/'"),
        ("--socket-path", &[""], ""),
        ("--with-state-fd", &["x"], "'x'"),
    ] {
        for value in values {
            let given = format!("{option}={value}");
            attempt(&rig, &["-b", "127.0.0.1:0", &given, "true"]).assert_says(2, &[option, bound]);
        }
    }
    for arguments in [&["--bogus", "true"][..], &["-x", "true"], &["-n"], &["-n", "true"]] {
        attempt(&rig, arguments).assert_says(2, &[arguments[0]]);
    }
}

fn bad_addresses_are_told_with_what_would_be_right() {
    let rig = Rig::new();
    for (address, told) in [
        ("8080", "expected HOST:PORT"),
        (":8080", "expected HOST:PORT"),
        ("127.0.0.1:", "port number from 0 to 65535"),
        ("127.0.0.1:65536", "port number from 0 to 65535"),
        ("::1:8080", "[::1]:8080"),
        ("[::x]:80", "not an IPv6 address"),
        ("127.0.0.1:0,x", "known options: r, n"),
        ("127.0.0.1:0,v6only", "v6only"),
        ("127.0.0.1:0,mode=0660", "mode=0660"),
        ("unix:", "must be followed by a path"),
        ("unix:x,mode=0999", "octal mode"),
        ("unix:x,v6only", "mode=0660, owner=USER"),
    ] {
        let before = ["-b", "unix:first", "-b", address, "true"];
        attempt(&rig, &before).assert_says(2, &[address, told]);
    }
    let word = "x=srv:127.0.0.1:0,bogus";
    attempt(&rig, &["true", word]).assert_says(2, &[word, "\"bogus\""]);
}

fn options_of_ruby_are_refused_by_name() {
    let rig = Rig::new();
    for (option, name) in [
        ("-pworker.rb", "--preload"),
        ("--preload=worker.rb", "--preload"),
        ("--gc-before-fork", "--gc-before-fork"),
    ] {
        attempt(&rig, &[option, "true"]).assert_says(2, &[name, "not available"]);
    }
}

/// More than fits the address of a UNIX socket.
const LONG_NAME: &str = "a-name-of-more-than-a-hundred-and-seven-bytes-does-not-fit-the-address-\
                         of-a-unix-socket-whatever-its-folder-may-be";

fn addresses_that_cannot_be_bound_are_told() {
    let rig = Rig::new();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let tcp = (format!("127.0.0.1:{}", tcp.local_addr().unwrap().port()), tcp);
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let udp = (format!("udp:127.0.0.1:{}", udp.local_addr().unwrap().port()), udp);
    let _live = UnixListener::bind(rig.path("live")).unwrap();
    fs::write(rig.path("plain"), "precious").unwrap();
    rig.subfolder("folder");
    for (address, told) in [
        (tcp.0.as_str(), "; stop what listens there (`ss -lntup` shows it)"),
        (udp.0.as_str(), "in use"),
        ("192.0.2.1:0", "no interface of this machine has this address"),
        ("a..b:80", "cannot find the address of \"a..b\""),
        ("unix:live", "another process is listening on it"),
        ("unix:live", "another path with -b"),
        ("unix:plain", "not a socket has this name; it was left alone"),
        ("unix:folder", "not a socket"),
        ("unix:missing/x", "its folder does not exist"),
        (&format!("unix:{LONG_NAME}"), "longer than the 107 bytes"),
        ("unix:x,owner=nobody-of-this-name", "there is no user \"nobody-of-this-name\""),
        ("unix:x,group=none-of-this-name", "there is no group \"none-of-this-name\""),
    ] {
        let name = address.split(',').next().unwrap().trim_start_matches("a..b:80");
        let before = ["-b", "unix:first", "-b", address, "true"];
        attempt(&rig, &before).assert_says(1, &[name, told]);
    }
    let word = format!("srv:{}", tcp.0);
    attempt(&rig, &["-b", "unix:first", "true", &word]).assert_says(1, &[&tcp.0, "in use"]);
    assert_eq!(fs::read_to_string(rig.path("plain")).unwrap(), "precious");
}

fn files_that_cannot_be_had_are_told() {
    let rig = Rig::new();
    let _live = UnixListener::bind(rig.path("live")).unwrap();
    fs::write(rig.path("plain"), "precious").unwrap();
    rig.subfolder("folder");
    nix::unistd::mkfifo(&rig.path("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let held = File::create(rig.path("held")).unwrap();
    held.lock().unwrap();
    std::os::unix::fs::symlink("held", rig.path("link")).unwrap();
    std::os::unix::fs::symlink("loop", rig.path("loop")).unwrap();
    for (option, file, told) in [
        ("-d", "live", "another process is listening on it"),
        ("-d", "plain", "not a socket has this name; it was left alone"),
        ("-d", "folder", "not a socket"),
        ("-d", "missing/x", "its folder does not exist"),
        ("-d", LONG_NAME, "longer than the 107 bytes"),
        ("-e", "missing/x", "No such file"),
        ("-e", "folder", "not a regular file; it was left alone"),
        ("-e", "fifo", "not a regular file; it was left alone"),
        ("-e", "live", "not a regular file; it was left alone"),
        ("-e", "loop", "symbolic links"),
        ("-e", "plain/x", "Not a directory"),
        ("-f", "missing/x", "No such file"),
        ("-f", "folder", "not a regular file; it was left alone"),
        ("-f", "fifo", "not a regular file; it was left alone"),
        ("-f", "loop", "symbolic links"),
        ("-f", "held", "another einhorn holds the lock"),
        ("-f", "link", "another einhorn holds the lock"),
    ] {
        attempt(&rig, &["-b", "unix:first", option, file, "true"])
            .assert_says(1, &[rig.path(file).to_str().unwrap(), told, option]);
    }
    let one_for_two = ["-d", "x", "-e", "x", "true"];
    attempt(&rig, &one_for_two).assert_says(1, &["not a regular file", "-e"]);
    attempt(&rig, &["no-such-program"])
        .assert_says(1, &["there is no program \"no-such-program\" in PATH", "give its path"]);
    assert_eq!(fs::read_to_string(rig.path("plain")).unwrap(), "precious");
}

/// A port that only root may bind, if there is one.
fn privileged_port() -> Option<u16> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
    let first: u16 = text.trim().parse().unwrap();
    first.checked_sub(1).filter(|port| *port > 0)
}

fn what_an_ordinary_user_may_not_is_told() {
    let rig = Rig::new();
    let sealed = rig.subfolder("sealed");
    fs::write(sealed.join("lock"), "").unwrap();
    let set_mode = |path: &Path, mode| {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    };
    set_mode(&sealed.join("lock"), 0o400);
    set_mode(&sealed, 0o555);
    let privileged = privileged_port().map(|port| format!("127.0.0.1:{port}"));
    let mut cases = vec![
        ("-d", "sealed/x", "permission denied; choose another with -d"),
        ("-e", "sealed/x", "Permission denied"),
        ("-f", "sealed/x", "Permission denied"),
        ("-f", "sealed/lock", "choose another with -f"),
        ("-b", "unix:sealed/x", "sealed/x"),
        ("-b", "unix:x,owner=0", "cannot change the owner of the socket file"),
    ];
    match &privileged {
        Some(address) => cases.push(("-b", address, "need root or CAP_NET_BIND_SERVICE")),
        None => println!("skipped in part: no port is privileged here"),
    }
    for (option, value, told) in cases {
        let arguments = ["-b", "unix:first", option, value, "true"];
        let command = ordinary_user::command(&rig, env!("CARGO_BIN_EXE_einhorn"), &arguments);
        refused(&rig, command).assert_says(1, &[told]);
    }
    // So that the folder can be removed.
    set_mode(&sealed, 0o755);
}

fn paths_are_relative_to_the_folder_of_the_start() {
    let rig = Rig::new();
    let folder = rig.subfolder("run");
    let options = ["-d", "run/s", "-e", "./run/p", "-f", "run/../run/l", "-b", "unix:run/u"];
    let command = rig.einhorn(&[&options[..], &["-m", "0", "sleep", "1000"]].concat());
    let mut master = rig.launch_at(command, folder.join("s"));
    assert_eq!(names(&folder), ["l", "p", "s", "s.lock", "u"]);
    let told = crate::master::listeners::variable(master.settled(1)[0], "EINHORN_SOCK_PATH");
    assert_eq!(told, folder.join("s").to_str().unwrap());
    master.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(master.ended().success());
    assert_eq!(names(&folder), ["l", "s.lock"]);
}
