//! Host names and `srv:` words: addresses in another guise.

use std::fs;
use std::process::Command;

use crate::master::listeners::{ask, variable};
use crate::support::failed_starts::refused;
use crate::support::ordinary_user::needs_root;
use crate::support::proc;
use crate::support::rig::{Master, Rig};

crate::tests![
    srv_words_become_descriptor_numbers,
    words_that_only_look_like_addresses_are_left_alone,
    host_names_become_addresses_of_the_family_asked_for,
];

/// What the log says that a descriptor is bound to.
fn logged_port(rig: &Rig, descriptor: &str) -> u16 {
    let end = format!(") as descriptor {descriptor}");
    let log = rig.log();
    let line = log.lines().find_map(|line| line.strip_suffix(&end)).unwrap();
    line.rsplit("(port ").next().unwrap().parse().unwrap()
}

/// The words of the only worker from its first step on.
fn steps(master: &Master<'_>) -> Vec<String> {
    let line = proc::command_line(master.settled(1)[0]);
    line.split(' ').skip(2).map(str::to_owned).collect()
}

fn srv_words_become_descriptor_numbers() {
    let rig = Rig::new();
    let unix = format!("srv:unix:{}", rig.path("listener").display());
    let given = [
        "serve-at=srv:127.0.0.1:0",
        "wait",
        "srv:127.0.0.1:0",
        "a=b=srv:127.0.0.1:0",
        "x=srv:127.0.0.1:0,R",
        &unix,
    ];
    let master = rig.start(&["-b", "127.0.0.1:0", "-m", "0"], &given);
    let words = steps(&master);
    let [first, other, path] = [&words[2], &words[4][2..], &words[5]];
    assert_eq!(words[0], format!("serve-at={first}"));
    assert_eq!((words[1].as_str(), words[3].as_str()), ("wait", format!("a=b={first}").as_str()));
    let worker = master.settled(1)[0];
    assert_eq!(ask("127.0.0.1", logged_port(&rig, first)), worker);
    assert_ne!(logged_port(&rig, first), logged_port(&rig, other));
    // They are not among the announced ones, which have numbers of their own.
    assert_eq!(variable(worker, "EINHORN_FD_COUNT"), "1");
    let numbers = [first, other, path, &variable(worker, "EINHORN_FD_0")];
    let open = proc::descriptors(worker);
    for (index, number) in numbers.iter().enumerate() {
        assert!(open[&number.parse().unwrap()].to_str().unwrap().starts_with("socket:"));
        assert!(!numbers[..index].contains(number), "{numbers:?}");
    }
    assert!(fs::exists(rig.path("listener")).unwrap());
    let original = master.state()[":orig_cmd"].clone();
    let original = original.as_sequence().unwrap().iter().map(|word| word.as_str().unwrap());
    assert!(original.skip(2).eq(given));
}

fn words_that_only_look_like_addresses_are_left_alone() {
    let rig = Rig::new();
    let given = [
        "wait",
        "srv",
        "srv:",
        "srv:hello",
        "srv:127.0.0.1",
        "srv:127.0.0.1:http",
        "SRV:127.0.0.1:80",
        "xsrv:127.0.0.1:80",
        "x:srv:127.0.0.1:80",
        "127.0.0.1:80",
    ];
    let master = rig.start(&["-m", "0"], &given);
    assert_eq!(steps(&master), given);
    assert!(!rig.log().contains("Bound"), "{}", rig.log());
}

/// `einhorn` where names are looked up in the rig's own file.
fn with_hosts(rig: &Rig, hosts: &str, arguments: &[&str]) -> Command {
    fs::write(rig.path("hosts"), hosts).unwrap();
    let script = "mount --bind hosts /etc/hosts && exec \"$@\"";
    let mut command = rig.command("unshare");
    command.args(["-m", "sh", "-c", script, "sh", env!("CARGO_BIN_EXE_einhorn")]).args(arguments);
    command
}

/// Whether a process may be given a view of the files of its own.
pub(crate) fn may_mount() -> bool {
    let works = needs_root()
        && Command::new("unshare").args(["-m", "true"]).status().is_ok_and(|it| it.success());
    if !works {
        println!("skipped: no mount namespace can be made here");
    }
    works
}

fn host_names_become_addresses_of_the_family_asked_for() {
    if !may_mount() {
        return;
    }
    let both = "127.0.0.1 localhost\n::1 localhost\n";
    for (option, family) in [("-4", "AF_INET"), ("-6", "AF_INET6")] {
        let rig = Rig::new();
        let options = [option, "-b", "localhost:0", "-m", "0", "sleep", "1000"];
        let master = rig.launch(with_hosts(&rig, both, &options));
        assert_eq!(variable(master.settled(1)[0], "EINHORN_FD_FAMILY_0"), family);
    }
    let rig = Rig::new();
    let options = ["-6", "-b", "localhost:0", "sleep", "1000"];
    let command = with_hosts(&rig, "127.0.0.1 localhost\n", &options);
    refused(&rig, command).assert_says(1, &["\"localhost\"", "no address that fits -6"]);
}
