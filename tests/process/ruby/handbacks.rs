//! Handing back to a Ruby Einhorn: refused where it was not asked for or cannot be, and where it
//! can, everything goes on.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use einhorn::client::Client;
use einhorn::protocol::Reply;
use einhorn::ruby;
use nix::sys::signal::Signal;

use crate::support::background::meanwhile;
use crate::support::before_and_after::Snapshot;
use crate::support::captures::{self, at};
use crate::support::last_line::is_upgraded;
use crate::support::load::{port, under_load};
use crate::support::releases::{THIS, answers, place, script, start_placed};
use crate::support::rig::{Master, Rig, has, names, send};
use crate::support::ruby::{evaluate, place_standin};
use crate::support::{proc, wait};

crate::tests![
    ruby_loads_what_is_written_for_it_as_what_it_wrote,
    ruby_loads_bytes_that_are_no_text,
    a_ruby_master_goes_on_with_the_same_workers_and_clients,
    a_ruby_master_brings_up_new_workers_and_no_connection_is_lost,
    timers_of_acks_go_on,
    it_is_refused_unless_it_is_asked_for,
    what_ruby_cannot_hold_is_refused_by_name,
    a_candidate_of_ours_is_refused_by_name,
    an_exec_that_fails_changes_nothing,
    orphans_of_workers_come_to_this_master_and_to_no_ruby_einhorn,
    what_is_no_ruby_einhorn_is_refused_by_name,
    a_master_that_has_started_nothing_goes_on,
    the_rest_of_a_line_that_is_too_long_is_no_command,
];

fn ruby_loads_what_is_written_for_it_as_what_it_wrote() {
    if !has("ruby") {
        return;
    }
    let rig = Rig::new();
    // With the classes of all that is in it; 1 would be equal to 1.0.
    let facts = |document: &str, key: &str| -> Vec<String> {
        let told = evaluate(&rig, document, &format!("JSON.generate(d[{key}].map(&:inspect))"));
        serde_json::from_str(&told).unwrap()
    };
    for capture in captures::all() {
        let ours = ruby::write(&capture.handover, at(60_000_000_000)).unwrap();
        for key in [":state", ":persistent_descriptors"] {
            let due = facts(capture.document, key);
            assert!(due.len() > 1, "{due:?}");
            assert_eq!(facts(&ours, key), due, "{} {key}", capture.name);
        }
    }
}

fn ruby_loads_bytes_that_are_no_text() {
    if !has("ruby") {
        return;
    }
    let rig = Rig::new();
    let mut handover = captures::all().swap_remove(0).handover;
    handover.state.config.command.push(OsStr::from_bytes(b"\xff=1").to_owned());
    handover.connections[0].input = "{\"user\": \"\u{e9}".into();
    let ours = ruby::write(&handover, at(0)).unwrap();
    assert_eq!(evaluate(&rig, &ours, "d[:state][:cmd].last.bytes"), "[255, 61, 49]");
    let buffer = "d[:persistent_descriptors][1][:read_buffer]";
    // As what read(2) gives it, to which it appends.
    let appended = format!("({buffer}.dup << \"\\xff\".b).bytes.last(3)");
    assert_eq!(evaluate(&rig, &ours, &appended), "[195, 169, 255]");
}

/// A master of ours in whose place the stand-in would be executed next.
fn start<'a>(rig: &'a Rig, options: &[&str], steps: &[&str]) -> Master<'a> {
    let standin = place_standin(rig, "ruby-master").display().to_string();
    let files = [("-d", "einhorn.sock"), ("-e", "einhorn.pid"), ("-f", "einhorn.lock")];
    let files: Vec<String> = files
        .iter()
        .flat_map(|(option, name)| [(*option).to_owned(), rig.path(name).display().to_string()])
        .collect();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    rig.start(&[&files, &["--reexec-as", &standin][..], options].concat(), steps)
}

/// Asks for a hand-back, and leaves the answers for later.
fn ask(rig: &Rig, command: &str) -> Client {
    let mut client = Client::connect(&rig.socket()).unwrap();
    client.set_read_timeout(Some(wait::PATIENCE)).unwrap();
    let line = format!("{{\"command\": \"{command}\", \"args\": [\"--to-ruby\"], \"id\": \"me\"}}");
    client.send_line(&line).unwrap();
    client
}

/// What the state says of each child, by pid.
fn children(master: &Master<'_>) -> BTreeMap<i64, serde_yaml::Value> {
    let state = master.state();
    let children = state[":children"].as_mapping().unwrap().iter();
    children.map(|(pid, facts)| (pid.as_i64().unwrap(), facts.clone())).collect()
}

fn is_ruby(pid: i32) -> bool {
    proc::stat(pid).is_some_and(|stat| stat.name != "einhorn")
}

/// Ends the stand-in, which ends its workers and removes its files.
fn stop(rig: &Rig, mut master: Master<'_>) {
    master.signal(Signal::SIGTERM);
    assert!(master.ended().success(), "{}", rig.log());
    rig.until_empty();
    let left = names(&rig.path(""));
    assert!(!left.iter().any(|name| name == "einhorn.sock" || name == "einhorn.pid"), "{left:?}");
}

fn a_ruby_master_goes_on_with_the_same_workers_and_clients() {
    if !has("ruby") {
        return;
    }
    let rig = Rig::new();
    let options = ["-n", "2", "-m", "manual", "-b", "127.0.0.1:0,r", "-g", "-t", "7.5"];
    let master = start(&rig, &options, &["ack", "wait"]);
    master.settled(2);
    let (known, state, pid) = (children(&master), master.state(), master.pid());
    let open_count = Snapshot::of(&master).descriptor_count();
    let mut half = UnixStream::connect(rig.socket()).unwrap();
    half.set_read_timeout(Some(wait::PATIENCE)).unwrap();
    half.write_all(b"{\"command\": \"ehlo\", \"user\": \"b\xc3").unwrap();
    master.until("the half line is taken in", || {
        (proc::descriptors(pid).len() > open_count).then_some(())
    });
    let told = answers(&rig, &mut ask(&rig, "reload"));
    assert_eq!(told.last().unwrap(), "Handed back: a Ruby Einhorn goes on");
    assert!(is_ruby(pid), "{}", rig.log());
    assert_eq!(children(&master), known);
    let after = master.state();
    for key in [":bind", ":bind_fds", ":bound_ports", ":cmd", ":orig_cmd", ":version", ":config"] {
        assert_eq!(after[key], state[key], "{key}");
    }
    assert_eq!(after[":signal_timeout"], serde_yaml::Value::from(7.5));
    assert_eq!(after[":generation"], serde_yaml::Value::from(1));
    half.write_all(b"\xa9b\"}\n").unwrap();
    let mut line = String::new();
    BufReader::new(&half).read_line(&mut line).unwrap();
    let greeting = Reply::parse(line.trim_end()).unwrap().message;
    assert!(greeting.starts_with("Welcome, b\u{e9}b!"), "{greeting}");
    // What we ignore and block is nobody's business any more: the mask is that of whoever started
    // the master, and ignored is none of the 64.
    let own = i32::try_from(std::process::id()).unwrap();
    assert_eq!(proc::signal_set(pid, "SigBlk"), proc::signal_set(own, "SigBlk"));
    assert_eq!(proc::signal_set(pid, "SigIgn"), 0);
    // Neither the locks nor the state is left open.
    let open = proc::descriptors(pid).into_values().map(|target| target.display().to_string());
    let stale = |target: &String| target.contains("memfd") || target.contains("einhorn.");
    assert_eq!(open.filter(stale).collect::<Vec<_>>(), [""; 0]);
    drop(half);
    stop(&rig, master);
}

fn a_ruby_master_brings_up_new_workers_and_no_connection_is_lost() {
    if !has("ruby") {
        return;
    }
    let rig = Rig::new();
    let options = ["-n", "2", "-m", "manual", "-s", "0.1", "-b", "127.0.0.1:0,r,n"];
    let master = start(&rig, &options, &["hold-usr2", "ack", "drain=v1"]);
    let old = master.settled(2);
    let (port, pid) = (port(&master), master.pid());
    let answered = under_load(port, 2, |load| {
        let told = meanwhile(&master, |scope| {
            let client = scope.spawn(|| answers(&rig, &mut ask(&rig, "upgrade")));
            master.until_logged("Checking whether the new release");
            hang_up_until_ruby_is_up(&master);
            client.join().unwrap()
        });
        assert_eq!(told[0], "Upgrading, as commanded");
        assert_eq!(told.last().unwrap(), "Upgrade done", "{told:?}");
        let before = load.answered();
        master.until("the clients go on", || (load.answered() > before).then_some(()));
    });
    assert!(answered > 10, "{answered} answers are no load");
    assert!(is_ruby(pid), "{}", rig.log());
    let new = master.settled(2);
    assert!(new.iter().all(|pid| !old.contains(pid)), "{old:?} {new:?}");
    assert_eq!(master.state()[":version"], serde_yaml::Value::from(1));
    assert_eq!(fs::read_to_string(rig.path("einhorn.pid")).unwrap().trim(), pid.to_string());
    stop(&rig, master);
}

/// Sends SIGHUP while our image asks and hands over, and while the next one starts and cannot take
/// it yet. Once that can, another would begin another upgrade.
fn hang_up_until_ruby_is_up(master: &Master<'_>) {
    let hup = 1u64 << (Signal::SIGHUP as i32 - 1);
    let mut while_it_starts = 0;
    master.until("a Ruby master starts", || {
        let is_starting = proc::signal_set(master.pid(), "SigIgn") & hup != 0;
        if is_starting || !is_ruby(master.pid()) {
            master.signal(Signal::SIGHUP);
        }
        while_it_starts += u32::from(is_starting);
        (while_it_starts >= 4).then_some(())
    });
}

fn timers_of_acks_go_on() {
    if !has("ruby") {
        return;
    }
    let rig = Rig::new();
    let begun = Instant::now();
    let master = start(&rig, &["-n", "2", "-m", "2.5"], &["wait"]);
    let told = answers(&rig, &mut ask(&rig, "reload"));
    assert!(told.last().unwrap().starts_with("Handed back"), "{told:?}");
    master.settled(2);
    assert!(begun.elapsed() >= Duration::from_millis(2400), "{:?}", begun.elapsed());
    assert_eq!(rig.log().matches("Launched").count(), 2, "{}", rig.log());
    stop(&rig, master);
}

/// A command is refused in these words, and changes nothing.
fn refused(master: &Master<'_>, command: &str, args: &[&str], words: &[&str]) {
    let before = Snapshot::of(master);
    let answer = master.say(command, args);
    for word in words {
        assert!(answer.contains(word), "{answer}");
    }
    before.assert_kept(master);
}

fn it_is_refused_unless_it_is_asked_for() {
    let rig = Rig::new();
    script(&rig, "silent", "#!/bin/sh\nexit 0\n");
    let silent = rig.path("silent").display().to_string();
    let master = rig.start(&["-m", "0", "--reexec-as", &silent], &["wait"]);
    master.settled(1);
    let words = ["Not upgrading: ", "einhornsh -e 'upgrade --to-ruby'"];
    for command in ["reload", "upgrade", "upgrade_fleet"] {
        refused(&master, command, &[], &words);
    }
    refused(&master, "upgrade", &["--to-rubi"], &["\"--to-rubi\"", "--to-ruby"]);
    // A program in our place by its own path is looked at in the same way.
    let rig = Rig::new();
    let master = start_placed(&rig, &["-m", "0"], &["wait"]);
    script(&rig, "m", "#!/bin/sh\nexit 0\n");
    master.settled(1);
    refused(&master, "upgrade", &[], &words);
}

fn what_ruby_cannot_hold_is_refused_by_name() {
    let rig = Rig::new();
    script(&rig, "silent", "#!/bin/sh\n: > asked\n");
    let silent = rig.path("silent").display().to_string();
    let listeners = ["-b", "127.0.0.1:0", "-b", "unix:web", "-b", "udp:127.0.0.1:0"];
    let options = [&["-m", "0", "--reexec-as", &silent], &listeners[..]].concat();
    let master = rig.start(&options, &["wait"]);
    master.settled(1);
    let words = ["Not handing back: ", "unix:web", "udp:127.0.0.1:0"];
    refused(&master, "upgrade", &["--to-ruby"], &words);
    assert!(!rig.path("asked").exists(), "nobody was asked");
    assert!(rig.log().contains("Not handing back: "), "{}", rig.log());
}

fn a_candidate_of_ours_is_refused_by_name() {
    let rig = Rig::new();
    let master = start_placed(&rig, &["-m", "0"], &["wait"]);
    master.settled(1);
    refused(&master, "upgrade", &["--to-ruby"], &["which is no Ruby Einhorn", "leave out"]);
    assert!(is_upgraded(&master.say("upgrade", &[])));
}

fn an_exec_that_fails_changes_nothing() {
    let rig = Rig::new();
    let master = start_placed(&rig, &["-n", "2", "-m", "0"], &["wait"]);
    master.settled(2);
    // It is found fit, and gone when it is to be executed.
    let says = "echo \"[MASTER $$] INFO: Running under Ruby 3.1.2\" >&2";
    script(&rig, "m", &format!("#!/bin/sh\n{says}\nrm \"$0\"\n"));
    let words = ["Could not upgrade, and went on as before", "No such file"];
    refused(&master, "upgrade", &["--to-ruby"], &words);
    place(&rig, Path::new(THIS), "m");
    // It still hears signals.
    master.signal(Signal::SIGHUP);
    master.until_logged("Upgraded successfully");
    master.settled(2);
}

/// Kills a worker, and ends what it has left in its group. Answers the parent that this had then.
fn adopter(rig: &Rig, master: &Master<'_>) -> i32 {
    let child = |of: i32| proc::children(of).into_iter().find(|child| child.name == "sleep");
    let worker = wait::until_some("a worker runs", || child(master.pid()), || rig.log()).pid;
    let left = wait::until_some("it has a child", || child(worker), || rig.log()).pid;
    send(worker, Signal::SIGKILL);
    let parent = || proc::stat(left).map(|stat| stat.parent).filter(|parent| *parent != worker);
    let parent = wait::until_some("it has another parent", parent, || rig.log());
    send(left, Signal::SIGKILL);
    parent
}

fn orphans_of_workers_come_to_this_master_and_to_no_ruby_einhorn() {
    if !has("ruby") {
        return;
    }
    let rig = Rig::new();
    let standin = place_standin(&rig, "ruby-master").display().to_string();
    let files = ["-e", "einhorn.pid", "-f", "einhorn.lock", "--reexec-as", "./wrapper"];
    let script_line = "sleep 1000 & exec sleep 2000";
    let worker = ["-m", "0", "-s", "0.1", "sh", "-c", script_line];
    script(&rig, "wrapper", &format!("#!/bin/sh\nexec {standin} \"$@\"\n"));
    let mut command = rig.einhorn(&[&files[..], &worker[..]].concat());
    command.current_dir(rig.path(""));
    let master = rig.launch(command);
    assert_eq!(adopter(&rig, &master), master.pid());
    // It is found fit, and gone when it is to be executed.
    let says = "echo \"[MASTER $$] INFO: Running under Ruby 3.1.2\" >&2";
    script(&rig, "wrapper", &format!("#!/bin/sh\n{says}\nrm \"$0\"\n"));
    refused(&master, "reload", &["--to-ruby"], &["Could not upgrade"]);
    assert_eq!(adopter(&rig, &master), master.pid());
    script(&rig, "wrapper", &format!("#!/bin/sh\nexec {standin} \"$@\"\n"));
    let told = answers(&rig, &mut ask(&rig, "reload"));
    assert!(told.last().unwrap().starts_with("Handed back"), "{told:?}");
    master.until("it is Ruby's", || is_ruby(master.pid()).then_some(()));
    assert_ne!(adopter(&rig, &master), master.pid());
}

fn what_is_no_ruby_einhorn_is_refused_by_name() {
    if !has("ruby") {
        return;
    }
    let rig = Rig::new();
    place_standin(&rig, "ruby-einhorn");
    let wrapper = script(&rig, "wrapper", "#!/bin/sh\n").display().to_string();
    let options = ["-n", "2", "-m", "0", "--reexec-as", &wrapper];
    let master = rig.start(&options, &["wait"]);
    master.settled(2);
    let much = "./ruby-einhorn \"$@\"; seq 5000";
    for (text, words) in [
        ("exec /bin/true", ["runs no Ruby Einhorn", "`[MASTER "]),
        ("./ruby-einhorn \"$@\"\nexit $?", ["as a child (pid ", "with `exec`"]),
        (much, ["or writes too much after it", "5000"]),
    ] {
        script(&rig, "wrapper", &format!("#!/bin/sh\n{text}\n"));
        refused(&master, "reload", &["--to-ruby"], &words);
    }
    let text = "[ \"$1\" != --upgrade-check ] || seq 5000; exec ./ruby-einhorn \"$@\"";
    script(&rig, "wrapper", &format!("#!/bin/sh\n{text}\n"));
    let told = answers(&rig, &mut ask(&rig, "reload"));
    assert!(told.last().unwrap().starts_with("Handed back"), "{told:?}");
    stop(&rig, master);
}

fn a_master_that_has_started_nothing_goes_on() {
    if !has("ruby") {
        return;
    }
    let rig = Rig::new();
    let program = script(&rig, "program", "#!/nowhere/interpreter\n").display().to_string();
    let standin = place_standin(&rig, "ruby-master").display().to_string();
    let options = ["-m", "manual", "-s", "0.1", "--reexec-as", &standin, &program];
    let master = rig.launch(rig.einhorn(&options));
    master.until_logged("Could not start a worker");
    assert_eq!(master.state()[":last_spinup"], serde_yaml::Value::Null);
    let mut client = ask(&rig, "upgrade");
    master.until("it is Ruby's", || is_ruby(master.pid()).then_some(()));
    script(&rig, "program", "#!/bin/sh\nexec sleep 1000\n");
    master.until_logged("===> Launched");
    client.send_line("").unwrap();
    assert!(is_ruby(master.pid()) && master.state()[":last_spinup"].is_string());
}

fn the_rest_of_a_line_that_is_too_long_is_no_command() {
    if !has("ruby") {
        return;
    }
    let rig = Rig::new();
    let master = start(&rig, &["-m", "0"], &["wait"]);
    master.settled(1);
    let mut client = UnixStream::connect(rig.socket()).unwrap();
    client.set_read_timeout(Some(wait::PATIENCE)).unwrap();
    client.write_all(format!("{{\"user\": \"{}", "x".repeat(40_000)).as_bytes()).unwrap();
    master.until_left_alone();
    let told = answers(&rig, &mut ask(&rig, "reload"));
    assert!(told.last().unwrap().starts_with("Handed back"), "{told:?}");
    client.write_all(b"x\", \"command\": \"state\"}\n").unwrap();
    let mut line = String::new();
    BufReader::new(&client).read_line(&mut line).unwrap();
    assert_eq!(Reply::parse(line.trim_end()).unwrap().message, "Could not parse command");
    drop(client);
    stop(&rig, master);
}
