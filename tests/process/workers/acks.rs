//! When a worker counts as up, and what is ignored.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_yaml::Value;

use crate::support::rig::{Master, Rig, send};
use crate::support::{proc, wait};

crate::tests![
    in_manual_mode_a_worker_is_up_when_it_says_so,
    in_timer_mode_a_worker_is_up_after_its_seconds,
    with_a_timer_of_zero_a_worker_is_up_at_once,
    a_death_is_early_only_before_the_ack,
    acks_that_do_not_fit_are_logged_and_ignored,
    acks_in_timer_mode_are_logged_and_ignored,
    a_given_connection_stays_usable,
    connections_of_dead_workers_are_given_up,
    a_ping_is_kept_with_the_type_of_its_id,
    the_first_ack_ends_the_streak_of_early_deaths,
    at_most_max_unacked_replacements_wait_for_their_ack,
];

/// Sends a line over a new connection and answers everything that comes back until the master
/// closes it.
fn answer_to(rig: &Rig, line: &str) -> String {
    let mut master = UnixStream::connect(rig.socket()).unwrap();
    master.set_read_timeout(Some(wait::PATIENCE)).unwrap();
    writeln!(master, "{line}").unwrap();
    let mut answer = String::new();
    master.read_to_string(&mut answer).unwrap();
    answer
}

/// The only worker's pid and entry in the state dump.
fn only_worker(master: &Master<'_>) -> (i32, Value) {
    let state = master.state();
    let (pid, worker) = state[":children"].as_mapping().unwrap().iter().next().unwrap();
    (i32::try_from(pid.as_i64().unwrap()).unwrap(), worker.clone())
}

fn is_acked(master: &Master<'_>) -> bool {
    only_worker(master).1[":acked"].as_bool().unwrap()
}

fn in_manual_mode_a_worker_is_up_when_it_says_so() {
    let rig = Rig::new();
    let go = rig.path("go");
    let until = format!("until={}", go.display());
    let master = rig.start(&["-m", "manual"], &[&until, "ack", "wait"]);
    master.until_logged("Launched");
    wait::throughout(Duration::from_millis(100), || assert!(!is_acked(&master)));
    fs::write(go, "").unwrap();
    master.settled(1);
    assert!(rig.log().contains("Up to 1 / 1 manual ACKs"), "{}", rig.log());
}

fn in_timer_mode_a_worker_is_up_after_its_seconds() {
    let rig = Rig::new();
    let begun = Instant::now();
    let master = rig.start(&["-m", "0.75", "-n", "2"], &["wait"]);
    master.settled(2);
    assert!(begun.elapsed() >= Duration::from_millis(750), "{:?}", begun.elapsed());
    assert!(rig.log().contains("Up to 2 / 2 timer ACKs"), "{}", rig.log());
    // The same for a time that nobody waits for.
    let slow = Rig::new();
    let master = slow.start(&["-m", "1000.5"], &["wait"]);
    master.until_logged("Launched");
    wait::throughout(Duration::from_millis(100), || assert!(!is_acked(&master)));
    let mode = &master.state()[":ack_mode"];
    assert_eq!(mode[":timeout"].as_f64(), Some(1000.5));
    master.say("config", &["{ack_mode: 0.01}"]);
    master.settled(1);
}

fn with_a_timer_of_zero_a_worker_is_up_at_once() {
    let rig = Rig::new();
    let master = rig.start(&["-m", "0", "-s", "1000"], &["exit=5"]);
    // Even one that is gone before anybody looks: it is replaced, not backed off.
    master.until_logged_times(3, "Launched");
    assert!(!rig.log().contains("before it was ACKed"), "{}", rig.log());
}

fn a_death_is_early_only_before_the_ack() {
    for (mode, early) in [("1000", true), ("0.1", false)] {
        let rig = Rig::new();
        let master = rig.start(&["-m", mode, "-s", "1000"], &["sleep=300", "exit=6"]);
        master.until_logged("exit status 6");
        assert_eq!(rig.log().contains("before it was ACKed: exit status 6"), early, "{mode}");
        let streak = master.state()[":consecutive_deaths_before_ack"].as_u64();
        assert_eq!(streak, Some(u64::from(early)), "{mode}");
    }
}

fn acks_that_do_not_fit_are_logged_and_ignored() {
    let rig = Rig::new();
    let master = rig.start(&["-m", "manual"], &["wait"]);
    master.until_logged("Launched");
    let (pid, _) = only_worker(&master);
    let stranger = master.pid();
    for (line, told) in [
        (format!("pid: {stranger}"), format!("ACK for {stranger}, which is no worker of mine")),
        ("pid: 4294967297".to_owned(), "without a valid pid (4294967297)".to_owned()),
        ("pid: -1".to_owned(), "ACK for -1, which is no worker of mine".to_owned()),
        ("pid: no number".to_owned(), "without a valid pid (no number)".to_owned()),
        (format!("pid: {pid}.5"), format!("without a valid pid ({pid}.5)")),
        (format!("pid: [{pid}]"), "worker:ack without a valid pid (no pid)".to_owned()),
        ("id: 7".to_owned(), "worker:ack without a valid pid (no pid)".to_owned()),
    ] {
        let before = rig.log().matches(&told).count();
        let answer = answer_to(&rig, &format!("{{command: 'worker:ack', {line}}}"));
        assert_eq!(answer, "", "{line}");
        assert_eq!(rig.log().matches(&told).count(), before + 1, "{line}\n{}", rig.log());
        assert!(!is_acked(&master), "{line}");
    }
    let fitting = format!("{{command: 'worker:ack', pid: {pid}}}");
    assert_eq!(answer_to(&rig, &fitting), "");
    assert!(is_acked(&master));
    assert_eq!(answer_to(&rig, &fitting), "");
    assert!(rig.log().contains(&format!("ACK for {pid}, which was ACKed before")));
    assert_eq!(rig.log().matches("manual ACKs").count(), 1, "{}", rig.log());
    assert_eq!(only_worker(&master).0, pid);
}

fn acks_in_timer_mode_are_logged_and_ignored() {
    let rig = Rig::new();
    let master = rig.start(&["-m", "1000"], &["wait"]);
    master.until_logged("Launched");
    let (pid, _) = only_worker(&master);
    assert_eq!(answer_to(&rig, &format!("{{command: 'worker:ack', pid: {pid}}}")), "");
    let told = format!("Ignoring an ACK for {pid}: ACKs are given by timer");
    assert!(rig.log().contains(&told), "{}", rig.log());
    assert!(!is_acked(&master));
}

/// The id of the only worker's last ping.
fn ping_id(master: &Master<'_>) -> Value {
    only_worker(master).1[":pinged_request_id"].clone()
}

fn a_given_connection_stays_usable() {
    let rig = Rig::new();
    let (first, last) = (rig.path("first"), rig.path("last"));
    let steps = [
        "ack-given",
        "ping=1",
        &format!("until={}", first.display()),
        "ack-given",
        "ping=2",
        "ping=3",
        &format!("until={}", last.display()),
        "ping=4",
        "wait",
    ];
    let master = rig.start(&["-g", "-m", "manual"], &steps);
    let pid = master.settled(1)[0];
    let until = |id: u64| {
        master.until("the ping arrives", || (ping_id(&master).as_u64()? == id).then_some(()));
    };
    until(1);
    fs::write(first, "").unwrap();
    until(3);
    assert!(rig.log().contains(&format!("ACK for {pid}, which was ACKed before")));
    fs::write(last, "").unwrap();
    until(4);
}

fn connections_of_dead_workers_are_given_up() {
    let rig = Rig::new();
    let master = rig.start(&["-n", "4", "-g", "-m", "manual"], &["ack-given", "wait"]);
    let workers = master.settled(4);
    let open = || proc::descriptors(master.pid()).len();
    let before = open();
    for worker in workers {
        send(worker, Signal::SIGKILL);
    }
    master.until_logged_times(4, "killed by SIGKILL");
    master.settled(4);
    // The one that asks for the state may not be closed yet.
    master.until("as few as before are open", || (open() <= before).then_some(()));
}

fn a_ping_is_kept_with_the_type_of_its_id() {
    let rig = Rig::new();
    let master = rig.start(&["-m", "manual"], &["ack", "wait"]);
    let pid = master.settled(1)[0];
    assert!(only_worker(&master).1.get(":pinged_at").is_none());
    let mut last = String::new();
    for (written, id) in [
        ("7", Value::from(7)),
        ("'7'", Value::from("7")),
        ("yes it is", Value::from("yes it is")),
        ("2.5", Value::from(2.5)),
        ("true", Value::from(true)),
        ("18446744073709551615", Value::from(u64::MAX)),
    ] {
        let ping = format!("{{command: 'worker:ping', pid: {pid}, request_id: {written}}}");
        assert_eq!(answer_to(&rig, &ping), "", "{written}");
        assert_eq!(ping_id(&master), id, "{written}");
        let at = only_worker(&master).1[":pinged_at"].as_str().unwrap().to_owned();
        assert!(at > last && at.ends_with(" +00:00"), "{last} {at}");
        last = at;
    }
    assert_eq!(answer_to(&rig, &format!("{{command: 'worker:ping', pid: {pid}}}")), "");
    assert!(ping_id(&master).is_null());
    let stranger = master.pid();
    assert_eq!(answer_to(&rig, &format!("{{command: 'worker:ping', pid: {stranger}}}")), "");
    assert!(rig.log().contains(&format!("ping of {stranger}, which is no worker of mine")));
}

fn the_first_ack_ends_the_streak_of_early_deaths() {
    let rig = Rig::new();
    let script = "test -e go || exit 3; exec \"$@\"";
    let worker = std::env::current_exe().unwrap();
    let mut command = rig.einhorn(&["-n", "4", "-m", "manual", "-s", "0.05"]);
    command.args(["sh", "-c", script, "sh"]).arg(worker).args(["--as-worker", "ack", "wait"]);
    let master = rig.launch(command);
    let streak = || master.state()[":consecutive_deaths_before_ack"].as_u64().unwrap();
    master.until("six early deaths", || (streak() >= 6).then_some(()));
    fs::write(rig.path("go"), "").unwrap();
    master.settled(4);
    let log = rig.log();
    assert_eq!(streak(), 0);
    assert_eq!(log.matches("ending a streak of").count(), 1, "{log}");
}

fn at_most_max_unacked_replacements_wait_for_their_ack() {
    let rig = Rig::new();
    let go = rig.path("go");
    fs::write(&go, "").unwrap();
    let until = format!("until={}", go.display());
    let options = ["-n", "8", "-m", "manual", "--max-unacked", "2"];
    let master = rig.start(&options, &[&until, "ack", "wait"]);
    let first = master.settled(8);
    fs::remove_file(&go).unwrap();
    for pid in &first[..6] {
        send(*pid, Signal::SIGKILL);
    }
    master.until_logged_times(6, "killed by SIGKILL");
    let unacked = || master.workers().iter().filter(|worker| !worker.acked).count();
    master.until("two replacements wait", || (unacked() == 2).then_some(()));
    wait::throughout(Duration::from_millis(200), || {
        assert_eq!((master.workers().len(), unacked()), (4, 2), "{}", rig.log());
    });
    fs::write(&go, "").unwrap();
    // Each ACK lets the next one start.
    let all_up = || master.workers().iter().filter(|worker| worker.acked).count() == 8;
    master.until("all are up", || {
        assert!(unacked() <= 2, "{}", rig.log());
        all_up().then_some(())
    });
    assert!(first[6..].iter().all(|pid| master.workers().iter().any(|w| w.pid == *pid)));
}
