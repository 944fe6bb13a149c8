//! Ruby masters that become ours: every capture of the original, with real processes, descriptors
//! and half lines, through a real pipe and a real exec.

use std::fs::{self, File};
use std::time::{Duration, Instant};

use einhorn::protocol::Reply;
use nix::sys::signal::Signal;

use crate::support::fake_ruby_master::{LOST, Original, capture, set_steps};
use crate::support::last_line::is_done;
use crate::support::proc;
use crate::support::rig::{Master, Rig};
use crate::support::wait;
use crate::support::wire::Wire;

crate::tests![
    a_master_with_manual_acks_goes_on,
    half_a_line_is_completed_after_the_takeover,
    pending_timer_acks_ring_in_time,
    a_smooth_upgrade_is_done_and_told,
    a_fleet_upgrade_is_done_and_told,
    new_workers_get_the_same_arguments,
    what_the_original_has_bound_is_ours,
    a_state_that_cannot_be_honoured_is_refused_before_anything_happens,
    endless_states_are_refused_whatever_they_would_take,
    a_state_that_is_too_large_to_be_looked_at_is_handed_over_all_the_same,
    what_keeps_the_files_from_being_taken_is_told_and_tried_again,
];

const SERVES: [&str; 2] = ["serve-at=7", "wait"];
const ACKS: [&str; 3] = ["serve-at=7", "ack", "wait"];

fn reply(client: &mut Wire) -> Reply {
    Reply::parse(&client.line()).unwrap()
}

/// Ends a master, which leaves nothing.
fn end(rig: &Rig, mut master: Master<'_>) {
    master.signal(Signal::SIGTERM);
    assert!(master.ended().success(), "{}", rig.log());
    assert!(!rig.path("pid").exists() && !rig.socket().exists(), "its files are removed");
    assert!(rig.path("lock").exists(), "the lock file stays");
}

fn a_master_with_manual_acks_goes_on() {
    let rig = Rig::new();
    let original = Original::new(&rig, &capture(&rig, "manual", 10.0), &SERVES);
    let (master, mut clients) = original.hand_over();
    let workers = master.settled(2);
    let stats = proc::children(master.pid());
    assert!(workers.iter().all(|pid| stats.iter().any(|stat| stat.pid == *pid)));
    assert_eq!(master.state()[":generation"].as_u64(), Some(1));
    assert_eq!(master.state()[":reloading_for_upgrade"].as_bool(), Some(false));
    let answer = clients[0].ask(r#"{"command": "ehlo", "user": "old", "id": 1}"#);
    assert!(answer.contains("Welcome, old!"), "{answer}");
    set_steps(&rig, &ACKS);
    let replaced = master.replaced(&workers[..1], 2);
    assert!(replaced.contains(&workers[1]));
    // From now on it is one of ours.
    assert!(master.say("reload", &[]).starts_with("Reload done"), "{}", rig.log());
    assert_eq!(master.settled(2), replaced);
    let answer = clients[0].ask(r#"{"command": "ehlo", "user": "older", "id": 1}"#);
    assert!(answer.contains("Welcome, older!"), "{answer}");
    assert!(!rig.log().contains("ERROR"), "{}", rig.log());
    end(&rig, master);
}

fn half_a_line_is_completed_after_the_takeover() {
    let rig = Rig::new();
    let original = Original::new(&rig, &capture(&rig, "partial-line", 10.0), &SERVES);
    let (_master, mut clients) = original.hand_over();
    let answer = clients[0].ask("o\", \"user\": \"half\", \"id\": 1}");
    assert!(answer.contains("Welcome, half!"), "{answer}");
    let answer = clients[1].ask(r#"{"command": "ehlo", "user": "whole", "id": 1}"#);
    assert!(answer.contains("Welcome, whole!"), "{answer}");
}

fn pending_timer_acks_ring_in_time() {
    let rig = Rig::new();
    // They ring thirty seconds after the start of the workers.
    let left = Duration::from_secs(4);
    let age = 30.0 - left.as_secs_f64();
    // Before the state says how old they are.
    let begun = Instant::now();
    let state = capture(&rig, "timer-pending", age);
    let original = Original::new(&rig, &state, &SERVES);
    let (master, _clients) = original.hand_over();
    let workers = master.workers();
    let after = begun.elapsed();
    assert!(after > left || workers.iter().all(|worker| !worker.acked), "{after:?}: {workers:?}");
    master.settled(2);
    // The times in the state are rounded.
    assert!(begun.elapsed() + Duration::from_millis(1) > left, "{:?}", begun.elapsed());
}

fn a_smooth_upgrade_is_done_and_told() {
    upgrade_is_done("upgrade-smooth");
}

fn a_fleet_upgrade_is_done_and_told() {
    upgrade_is_done("upgrade-fleet");
}

fn upgrade_is_done(name: &str) {
    let rig = Rig::new();
    let original = Original::new(&rig, &capture(&rig, name, 10.0), &SERVES);
    set_steps(&rig, &ACKS);
    let (master, mut clients) = original.hand_over();
    let mut messages = Vec::new();
    loop {
        let reply = reply(&mut clients[0]);
        assert_eq!(reply.request_id, Some(einhorn::scalar::Scalar::Integer(7)), "{reply:?}");
        messages.push(reply.message);
        if !reply.wait {
            break;
        }
    }
    assert!(is_done(messages.last().unwrap()), "{messages:?}");
    assert!(messages[0].contains("(Ruby)"), "{messages:?}");
    let workers = master.settled(2);
    assert_eq!(master.state()[":version"].as_u64(), Some(1));
    let port = master.port(0);
    let served = || workers.contains(&http_pid(port)?).then_some(());
    wait::until_some("new workers serve", served, || rig.log());
    end(&rig, master);
}

/// The pid of whoever answers.
fn http_pid(port: u16) -> Option<i32> {
    let mut text = String::new();
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
    std::io::Read::read_to_string(&mut stream, &mut text).ok()?;
    text.trim().parse().ok()
}

fn new_workers_get_the_same_arguments() {
    let rig = Rig::new();
    let original = Original::new(&rig, &capture(&rig, "worker-args", 10.0), &SERVES);
    set_steps(&rig, &ACKS);
    let (master, _clients) = original.hand_over();
    let before = master.settled(2);
    master.say("inc", &[]);
    let workers = master.settled(3);
    let new = workers.iter().find(|pid| !before.contains(pid)).unwrap();
    let arguments = fs::read_to_string(rig.path(&format!("arguments.{new}"))).unwrap();
    assert_eq!(arguments, "a b\nquo\"te\n%0A%25\n--flag=x:y\n");
}

fn what_the_original_has_bound_is_ours() {
    let rig = Rig::new();
    let original = Original::new(&rig, &capture(&rig, "manual", 10.0), &SERVES);
    let (master, _clients) = original.hand_over();
    let path = |name: &str| rig.path(name).display().to_string();
    // The lock keeps a second master of this name away, as one of ours does.
    let mut second = rig.einhorn(&["-d", &path("other"), "-e", &path("pid2"), "-f", &path("lock")]);
    let output = second.args(["sleep", "9"]).output().unwrap();
    let refused = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && refused.contains("lock"), "{refused}");
    let open = proc::descriptors(master.pid());
    assert!(open.values().any(|target| *target == rig.path("lock")), "{open:?}");
    assert!(open.values().any(|target| *target == rig.path("pid")), "{open:?}");
    assert!(!open.contains_key(&20), "the pipe is closed: {open:?}");
    end(&rig, master);
}

/// What a hand-over ends with, gone to the last line.
const LAST_LINES: &str =
    "- :class: Einhorn::Event::Connection\\n  :socket: 9\\n  :subscriptions: {}\\n => ";

/// Each with what is edited in the state at the last moment, and why it is refused.
fn a_state_that_cannot_be_honoured_is_refused_before_anything_happens() {
    for (edit, why) in [
        ("  - 7 =>   - 0", "`:state: :bind_fds: 0` must be from 3"),
        ("  - 7 =>   - 9", "`:persistent_descriptors: 1 :socket:` is descriptor 9"),
        ("  - 7 =>   - 99", "`:state: :bind_fds: 0` 99 is not open"),
        ("  - 7 =>   - 20", "`:state: :bind_fds: 0` 20 is no listening stream socket"),
        (":server: 8 => :server: 7", "which"),
        (":socket: 9 => :socket: 20", ":socket:` 20 is no UNIX stream connection"),
        (":index: 0 => :index: zero", ":index:` must be a whole number"),
        (":backlog: => :backlog: &x *x", "no YAML"),
        (LAST_LINES, "it is cut short: descriptor 9 is a client"),
        (LOST, "the pipe for it is empty"),
    ] {
        let rig = Rig::new();
        let original = Original::new(&rig, &capture(&rig, "manual", 10.0), &SERVES);
        fs::write(rig.path("edits"), edit).unwrap();
        let said = original.refused();
        assert!(said.contains(why), "{edit}: {said}");
        assert!(said.contains("the Ruby master's state: "), "{edit}: {said}");
    }
    // Nobody's child.
    let rig = Rig::new();
    let mut einhorn =
        rig.shell("cat template | \"$@\"", &["--upgrade-check", "--with-state-fd", "0"]);
    fs::write(rig.path("template"), capture(&rig, "manual", 10.0).replace("11994", "1")).unwrap();
    let output = einhorn.args(["--", "true"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("is not open") && !output.status.success(), "{said}");
}

fn endless_states_are_refused_whatever_they_would_take() {
    let rig = Rig::new();
    let check = ["--upgrade-check", "--with-state-fd", "0", "--", "true"];
    for (script, why) in [
        ("ulimit -v 500000; yes | \"$@\"", "more than"),
        ("ulimit -v 500000; yes -- '- x' | \"$@\"", "more than"),
        (
            "ulimit -v 500000; yes -- '- x' | head -c 16000000 | (echo ---; cat) | \"$@\"",
            "holds more",
        ),
        ("ulimit -v 500000; yes '[' | head -c 16000000 | (echo ---; cat) | \"$@\"", "recursion"),
        ("printf '%s' '---' | \"$@\"", "cut short"),
        ("\"$@\" </dev/null", "cut short"),
    ] {
        let output = rig.shell(script, &check).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(why), "{script}: {said}");
    }
}

fn a_state_that_is_too_large_to_be_looked_at_is_handed_over_all_the_same() {
    let rig = Rig::new();
    let comments = "# nothing to see here\n".repeat(60_000);
    let state = capture(&rig, "manual", 10.0) + &comments;
    let original = Original::new(&rig, &state, &SERVES);
    let (master, _clients) = original.hand_over();
    master.settled(2);
    let told = "state: of a Ruby Einhorn, and could not be looked at: it is more than its pipe";
    assert!(rig.log().contains(told), "{}", rig.log());
    end(&rig, master);
}

fn what_keeps_the_files_from_being_taken_is_told_and_tried_again() {
    let rig = Rig::new();
    let original = Original::new(&rig, &capture(&rig, "manual", 10.0), &SERVES);
    fs::write(rig.path("edits"), "/pid\" => /fifo\"\n/lock\" => /held\"\n").unwrap();
    nix::unistd::mkfifo(&rig.path("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let held = File::create(rig.path("held")).unwrap();
    held.try_lock().unwrap();
    // Nobody waits for a writer.
    let (master, _clients) = original.hand_over();
    let log = rig.log();
    let errors: Vec<&str> = log.lines().filter(|line| line.contains("ERROR")).collect();
    let [pidfile, lock] = errors[..] else { panic!("{log}") };
    assert!(pidfile.contains("/fifo is left alone: it is not a regular file"), "{pidfile}");
    assert!(
        lock.contains("Running without the lock file: another einhorn holds the lock"),
        "{lock}"
    );
    let runs_without = "Running without the lock file";
    assert!(master.say("reload", &[]).starts_with("Reload done"), "{}", rig.log());
    assert_eq!(rig.log().matches(runs_without).count(), 2, "{}", rig.log());
    drop(held);
    assert!(master.say("reload", &[]).starts_with("Reload done"), "{}", rig.log());
    assert_eq!(rig.log().matches(runs_without).count(), 2, "{}", rig.log());
    let taken = File::open(rig.path("held")).unwrap();
    assert!(taken.try_lock().is_err(), "a second master is kept out again");
    assert!(master.say("reload", &[]).starts_with("Reload done"), "{}", rig.log());
    assert!(taken.try_lock().is_err(), "the lock travels");
}
