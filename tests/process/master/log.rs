//! What is logged, and how important it is.

use std::os::unix::net::UnixDatagram;
use std::process::Command;

use nix::fcntl::OFlag;
use nix::sys::signal::Signal;

use crate::master::srv_words::may_mount;
use crate::support::failed_starts::refused;
use crate::support::proc;
use crate::support::rig::Rig;
use crate::support::wire::Wire;

crate::tests![
    every_line_says_who_and_how_important,
    levels_are_chosen_at_the_start_and_changed_while_it_runs,
    a_message_of_several_lines_stays_one,
    a_log_that_cannot_grow_harms_nobody,
    a_closed_standard_error_is_no_log_and_no_harm,
    the_systems_log_gets_the_lines_if_asked,
    without_a_systems_log_the_start_fails_and_says_so,
];

/// Checks that every line is `[MASTER PID] LEVEL: …`; answers the levels in order.
fn levels(log: &str, pid: i32) -> Vec<&str> {
    let start = format!("[MASTER {pid}] ");
    let level = |line| {
        let rest: &str =
            Option::unwrap_or_else(str::strip_prefix(line, &start), || panic!("{line}"));
        let (level, message) = rest.split_once(": ").unwrap();
        assert!(["DEBUG", "INFO", "ERROR"].contains(&level) && !message.is_empty(), "{line}");
        level
    };
    log.lines().map(level).collect()
}

/// Has the master log one line of each level.
fn one_of_each(rig: &Rig) {
    let mut wire = Wire::connect(rig);
    wire.ask(r#"{"command": "signal", "args": ["WINCH"]}"#);
    // Answered by nothing but the end.
    wire.send("{\"command\": \"worker:ack\", \"pid\": 1}\n");
    assert_eq!(wire.rest(), "");
}

fn every_line_says_who_and_how_important() {
    let rig = Rig::new();
    let mut master = rig.start(&["-v", "-b", "127.0.0.1:0"], &["wait"]);
    one_of_each(&rig);
    master.signal(Signal::SIGTERM);
    assert!(master.ended().success());
    let log = rig.log();
    let levels = levels(&log, master.pid());
    for level in ["DEBUG", "INFO", "ERROR"] {
        assert!(levels.contains(&level), "{log}");
    }
    let worker = "===> Launched ";
    for line in ["Running 1 of: ", "Command socket: ", "Bound 127.0.0.1:0 (port ", worker] {
        assert!(log.contains(&format!("INFO: {line}")), "{log}");
    }
}

fn levels_are_chosen_at_the_start_and_changed_while_it_runs() {
    let rig = Rig::new();
    for (option, at_first) in [("-v", 0), ("-q", 2), ("-qq", 2)] {
        let name = format!("name{option}");
        let command = rig.einhorn(&["-c", &name, option, "-m", "0", "sleep", "1000"]);
        let master = rig.launch_at(command, rig.path(&format!("einhorn-{name}.sock")));
        assert_eq!(master.state()[":verbosity"], at_first);
    }
    let master = rig.launch(rig.einhorn(&["-m", "0", "sleep", "1000"]));
    let logged = |commands: &[(&str, &str)]| {
        for (command, answer) in commands {
            assert_eq!(master.say(command, &[]), *answer);
        }
        let before = rig.log().len();
        one_of_each(&rig);
        rig.log()[before..].to_owned()
    };
    let pid = master.pid();
    assert_eq!(levels(&logged(&[]), pid), ["INFO", "ERROR"]);
    let quieter = [("quieter", "Verbosity set to 2 (errors only)")];
    assert_eq!(levels(&logged(&quieter), pid), ["ERROR"]);
    let still = [("quieter", "Verbosity is already at 2 (errors only)")];
    assert_eq!(levels(&logged(&still), pid), ["ERROR"]);
    let louder =
        [("louder", "Verbosity set to 1 (info)"), ("louder", "Verbosity set to 0 (debug)")];
    assert_eq!(levels(&logged(&louder), pid), ["DEBUG", "INFO", "DEBUG", "ERROR"]);
    let still = [("louder", "Verbosity is already at 0 (debug)")];
    assert_eq!(levels(&logged(&still), pid).len(), 4);
}

fn a_message_of_several_lines_stays_one() {
    let rig = Rig::new();
    let master = rig.launch(rig.einhorn(&["-v", "sh", "-c", "exec sleep 1000", "a\nb"]));
    for bad in [r#""pid": "a\nb""#, r#""pid": 1, "command": "worker:a\nck""#] {
        let wire = Wire::connect(&rig);
        wire.send(format!("{{\"command\": \"worker:ack\", {bad}}}\n"));
        wire.end();
        wire.rest();
    }
    levels(&rig.log(), master.pid());
    assert!(rig.log().contains("(a\\nb)"), "{}", rig.log());
}

fn a_log_that_cannot_grow_harms_nobody() {
    // A block of `ulimit -f` is 512 or 1024 bytes.
    for script in ["ulimit -f 1; exec \"$@\" 2> log", "exec \"$@\" 2> /dev/full"] {
        let rig = Rig::new();
        let command = rig.shell(script, &["-n", "2", "-m", "0", "sleep", "1000"]);
        let mut master = rig.launch(command);
        for _ in 0..20 {
            assert!(master.say("signal", &["WINCH"]).contains("Successfully"));
        }
        assert!(rig.log().len() <= 1024);
        proc::until_idle(master.pid());
        master.replaced(&master.settled(2)[..1], 2);
        master.signal(Signal::SIGTERM);
        assert!(master.ended().success());
    }
}

fn a_closed_standard_error_is_no_log_and_no_harm() {
    let rig = Rig::new();
    let options = ["-b", "127.0.0.1:0", "-m", "0", "sleep", "1000"];
    let master = rig.launch(rig.shell("exec \"$@\" 2>&-", &options));
    let worker = master.settled(1)[0];
    // Or else the first socket becomes what a worker complains to.
    let standard_error = proc::descriptors(worker)[&2].clone();
    assert!(standard_error.ends_with("null"), "{}", standard_error.display());
    assert!(!proc::flags(worker, 2).contains(OFlag::O_NONBLOCK));
    assert_eq!(rig.log(), "");
}

/// `einhorn` with another `/dev`.
pub(crate) fn with_devices(rig: &Rig, arguments: &[&str]) -> Command {
    let script = "mount --bind dev /dev && exec \"$@\"";
    let mut command = rig.command("unshare");
    command.args(["-m", "sh", "-c", script, "sh", env!("CARGO_BIN_EXE_einhorn")]).args(arguments);
    command
}

fn the_systems_log_gets_the_lines_if_asked() {
    if !may_mount() {
        return;
    }
    let rig = Rig::new();
    let socket = UnixDatagram::bind(rig.subfolder("dev").join("log")).unwrap();
    socket.set_read_timeout(Some(crate::support::wait::PATIENCE)).unwrap();
    let master = rig.launch(with_devices(&rig, &["--syslog", "sleep", "1000"]));
    one_of_each(&rig);
    let start = |severity| format!("<{}>einhorn[{}]: ", 3 * 8 + severity, master.pid());
    let mut buffer = [0; 4096];
    let mut line = || {
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    assert!(line().starts_with(&(start(6) + "Running 1 of: ")));
    while !line().starts_with(&(start(3) + "Ignoring an ACK for 1")) {}
    assert_eq!(rig.log(), "");
}

fn without_a_systems_log_the_start_fails_and_says_so() {
    if !may_mount() {
        return;
    }
    let rig = Rig::new();
    rig.subfolder("dev");
    let command = with_devices(&rig, &["--syslog", "-b", "unix:listener", "sleep", "1000"]);
    refused(&rig, command).assert_says(1, &["--syslog", "nothing takes messages at /dev/log"]);
    // The system's log has died.
    drop(UnixDatagram::bind(rig.path("dev/log")).unwrap());
    let command = with_devices(&rig, &["--syslog", "sleep", "1000"]);
    refused(&rig, command).assert_says(1, &["--syslog", "refused"]);
}
