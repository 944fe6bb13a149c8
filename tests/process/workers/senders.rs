//! For which worker a process may speak, and what another user may say over a worker's connection.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use einhorn::protocol::Reply;

use crate::support::jobs::{Jobs, write};
use crate::support::ordinary_user::{NOBODY, needs_root, shared};
use crate::support::rig::{Master, Rig, has};
use crate::support::worker;

crate::tests![
    a_process_of_a_shell_line_acks_for_its_worker,
    a_process_that_has_left_the_group_does_not_ack_and_the_log_says_why,
    a_pid_that_nobody_has_does_not_ack_and_the_log_says_why,
    a_worker_that_drops_its_user_is_heard,
    another_user_commands_nothing,
    root_in_the_workers_group_commands,
    another_user_speaks_for_its_own_worker_only,
    a_line_of_two_users_is_judged_by_the_lesser,
    half_a_line_of_another_user_is_still_that_after_a_re_exec,
];

const ROOT: u32 = 0;

/// A master whose workers are a shell line in which `"$@"` is the test program with these steps.
fn start_line<'a>(rig: &'a Rig, line: &str, steps: &[&str]) -> Master<'a> {
    let mut command = rig.einhorn(&["-m", "manual", "-v", "sh", "-c", line, "sh"]);
    command.arg(std::env::current_exe().unwrap()).arg(worker::FLAG).args(steps);
    rig.launch(command)
}

fn a_process_of_a_shell_line_acks_for_its_worker() {
    let rig = Rig::new();
    let master = start_line(&rig, "\"$@\"; true", &["ack", "wait"]);
    let worker = master.settled(1)[0];
    assert!(!rig.log().contains("Ignoring"), "{}", rig.log());
    let told = format!("counts for worker {worker}, in whose group it is");
    assert!(rig.log().contains(&told), "{}", rig.log());
}

fn a_process_that_has_left_the_group_does_not_ack_and_the_log_says_why() {
    if has("setsid") {
        let rig = Rig::new();
        let master = start_line(&rig, "setsid \"$@\" & wait", &["ack", "wait"]);
        master.until_logged("Ignoring an ACK for");
        let worker = &master.workers()[0];
        let told = format!("it descends from worker {}, but is not in its process", worker.pid);
        assert!(rig.log().contains(&told), "{}", rig.log());
        assert!(!worker.acked);
    }
}

fn a_pid_that_nobody_has_does_not_ack_and_the_log_says_why() {
    let rig = Rig::new();
    let master = rig.start(&["-m", "manual"], &["wait"]);
    master.until_logged("Launched");
    let mut ended = rig.command("true").spawn().unwrap();
    ended.wait().unwrap();
    for (pid, why) in [
        (i64::from(ended.id()), "there is no such process any more (in a pid namespace"),
        (-1, "there is no such process any more"),
        (0, "there is no such process any more"),
        (i64::from(master.pid()), "it is in no worker's process group"),
        (i64::from(std::process::id()), "it is in no worker's process group"),
    ] {
        let line = format!("{{\"command\": \"worker:ack\", \"pid\": {pid}}}\n");
        let mut client = std::os::unix::net::UnixStream::connect(master.socket()).unwrap();
        std::io::Write::write_all(&mut client, line.as_bytes()).unwrap();
        master.until_logged(&format!("ACK for {pid}, which is no worker of mine: {why}"));
    }
    assert!(!master.workers()[0].acked);
}

/// The only worker's last ping.
fn ping_id(master: &Master<'_>) -> Option<u64> {
    let state = master.state();
    let (_, worker) = state[":children"].as_mapping()?.iter().next()?;
    worker[":pinged_request_id"].as_u64()
}

fn a_worker_that_drops_its_user_is_heard() {
    if !needs_root() || !has("setpriv") {
        return;
    }
    let rig = Rig::new();
    let program = shared(&rig, std::env::current_exe().unwrap().to_str().unwrap());
    let mut command = rig.einhorn(&["-g", "-m", "manual", "setpriv", "--reuid", "65534"]);
    command.args(["--regid", "65534", "--clear-groups"]).arg(program);
    command.args([worker::FLAG, "ack-given", "ping=7", "wait"]);
    let master = rig.launch(command);
    master.settled(1);
    master.until("the ping arrives", || (ping_id(&master)? == 7).then_some(()));
    assert!(!rig.log().contains("Ignoring"), "{}", rig.log());
}

/// A master whose workers do jobs, with those of the first ones; none of them is up.
fn working<'a, const N: usize>(rig: &'a Rig, options: &[&str]) -> (Master<'a>, [Jobs; N]) {
    fs::set_permissions(rig.path(""), Permissions::from_mode(0o777)).unwrap();
    let jobs = std::array::from_fn(|slot| {
        let folder = rig.subfolder(&format!("jobs-{slot}"));
        fs::set_permissions(&folder, Permissions::from_mode(0o777)).unwrap();
        Jobs::in_folder(&folder)
    });
    let mut command = rig.einhorn(&["-g", "-m", "manual", "-n", &N.to_string()]);
    let line = "exec \"$0\" --as-worker jobs=jobs-$EINHORN_CHILD_INDEX";
    command.args(options).args(["sh", "-c", line]).arg(std::env::current_exe().unwrap());
    let master = rig.launch(command);
    master.until_logged_times(N, "Launched");
    (master, jobs)
}

/// The worker of a slot.
fn worker_of(master: &Master<'_>, slot: u64) -> i32 {
    master.workers().iter().find(|worker| worker.index == slot).unwrap().pid
}

fn is_acked(master: &Master<'_>, pid: i32) -> bool {
    master.workers().iter().any(|worker| worker.pid == pid && worker.acked)
}

/// The message of a reply.
fn message(line: &str) -> String {
    Reply::parse(line.trim_end()).unwrap().message
}

/// What a command may change.
fn facts(master: &Master<'_>) -> String {
    let state = master.state();
    let of = |name: &str| serde_yaml::to_string(&state[name]).unwrap();
    [":config", ":ack_mode", ":signal_timeout", ":verbosity", ":children"].map(of).concat()
}

fn another_user_commands_nothing() {
    if !needs_root() {
        return;
    }
    let rig = Rig::new();
    let (mut master, [jobs]) = working(&rig, &[]);
    let before = facts(&master);
    for (command, args) in [
        ("die", ""),
        ("set_workers", ",\"args\":[\"3\"]"),
        ("config", ",\"args\":[\"{number: 3}\"]"),
        ("signal", ",\"args\":[\"KILL\"]"),
        ("state", ""),
        ("upgrade", ""),
        ("louder", ""),
        ("ehlo", ""),
        ("fly", ""),
    ] {
        let line = format!("{{\"command\":\"{command}\"{args}}}");
        let told = message(&jobs.ask(&master, NOBODY, &line));
        assert!(told.starts_with(&format!("Refused \"{command}\" from process ")), "{told}");
        assert!(told.contains(" of user 65534: over a connection that -g gave"), "{told}");
        assert!(rig.log().contains(&told), "{}", rig.log());
        assert_eq!(facts(&master), before, "{command}");
    }
    // A line that is none is answered as ever, and the worker can still speak.
    assert!(message(&jobs.ask(&master, NOBODY, "{")).contains("Could not parse"));
    let pid = worker_of(&master, 0);
    let ack = format!("{{\"command\":\"worker:ack\",\"pid\":{pid}}}");
    jobs.run(&master, NOBODY, &write(&ack));
    assert_eq!(master.settled(1), [pid]);
    master.say("die", &[]);
    assert!(master.ended().success());
}

fn root_in_the_workers_group_commands() {
    if !needs_root() {
        return;
    }
    let rig = Rig::new();
    let (master, [jobs]) = working(&rig, &[]);
    let told =
        message(&jobs.ask(&master, ROOT, "{\"command\":\"config\",\"args\":[\"{seconds: 9}\"]}"));
    assert!(told.starts_with("Changed seconds to 9"), "{told}");
    assert!(!rig.log().contains("Refused"), "{}", rig.log());
    let line = "{\"command\":\"set_workers\",\"args\":[\"2\"]}";
    let told = message(&jobs.ask(&master, ROOT, line));
    assert!(told.starts_with("Altering worker count, 1 -> 2"), "{told}");
    master.until_logged_times(2, "Launched");
}

fn another_user_speaks_for_its_own_worker_only() {
    if !needs_root() {
        return;
    }
    let rig = Rig::new();
    let (master, [jobs, others]) = working(&rig, &[]);
    let (own, other) = (worker_of(&master, 0), worker_of(&master, 1));
    let message = |command: &str, pid: &str| {
        format!("printf '{{\"command\":\"worker:{command}\",\"pid\":%d}}\\n' {pid}")
    };
    for (command, begins) in [("ack", "Ignoring an ACK for"), ("ping", "Ignoring a ping of")] {
        jobs.run(&master, NOBODY, &message(command, &other.to_string()));
        master.until_logged(&format!("{begins} {other}, sent by process "));
    }
    assert!(rig.log().contains(&format!("over the connection of worker {own}, only")));
    assert!(!is_acked(&master, other));
    // Any process of its group, by its own pid; it lives until the master has read that.
    let heard = format!("{}; {}; read -r reply", message("ack", "$$"), write("{}"));
    jobs.run(&master, NOBODY, &heard);
    master.until("it counts", || is_acked(&master, own).then_some(()));
    assert!(!is_acked(&master, other));
    // Root may speak for any.
    jobs.run(&master, ROOT, &message("ack", &other.to_string()));
    master.until("it counts", || is_acked(&master, other).then_some(()));
    drop(others);
}

/// The two halves of a command whose end nobody takes for another's.
const HALVES: [&str; 2] = ["{\"command\":\"config\",", "\"args\":[\"{seconds: 9}\"]}"];

/// A part of a line, without its end.
fn part(text: &str) -> String {
    format!("printf '%s' '{text}'")
}

/// What the master says to a line of which two users have written one half each.
fn of_two(master: &Master<'_>, jobs: &Jobs, users: [u32; 2], between: impl FnOnce()) -> String {
    jobs.run(master, users[0], &part(HALVES[0]));
    // Answered later than the half was read.
    master.state();
    between();
    message(&jobs.ask(master, users[1], HALVES[1]))
}

fn a_line_of_two_users_is_judged_by_the_lesser() {
    if !needs_root() {
        return;
    }
    let rig = Rig::new();
    let (master, [jobs]) = working(&rig, &[]);
    for users in [[NOBODY, ROOT], [ROOT, NOBODY]] {
        let told = of_two(&master, &jobs, users, || ());
        assert!(told.starts_with("Refused \"config\" from process "), "{users:?} {told}");
        assert!(told.contains(" of user 65534: "), "{users:?} {told}");
    }
    // Also when nothing was read in between.
    let both =
        format!("{}; setpriv --reuid 65534 --clear-groups {}", part(HALVES[0]), write(HALVES[1]));
    if has("setpriv") {
        let script = format!("{both}; read -r reply; echo \"$reply\" > answer");
        let told = message(&jobs.run(&master, ROOT, &script));
        assert!(told.starts_with("Refused \"config\" from process "), "{told}");
    }
    assert_eq!(of_two(&master, &jobs, [ROOT; 2], || ()), "Changed seconds to 9");
}

fn half_a_line_of_another_user_is_still_that_after_a_re_exec() {
    if !needs_root() {
        return;
    }
    let rig = Rig::new();
    let (master, [jobs]) = working(&rig, &[]);
    let reload = || {
        let said = master.say("reload", &[]);
        assert!(said.starts_with("Reload done"), "{said}");
    };
    let told = of_two(&master, &jobs, [NOBODY, ROOT], reload);
    assert!(told.starts_with("Refused \"config\" from process "), "{told}");
    assert!(told.contains(" of user 65534: "), "{told}");
    // What is sent after it is judged too, and root is still obeyed.
    let told = of_two(&master, &jobs, [ROOT, NOBODY], reload);
    assert!(told.starts_with("Refused \"config\" from process "), "{told}");
    assert_eq!(of_two(&master, &jobs, [ROOT; 2], reload), "Changed seconds to 9");
}
