//! What workers say, where the master listens: `--capture-stderr`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use nix::fcntl::OFlag;
use nix::sys::signal::Signal;
use nix::unistd::pipe;
use serde_json::Value;

use crate::master::log::with_devices;
use crate::master::log_readers::overfill;
use crate::master::srv_words::may_mount;
use crate::shell::sessions::run;
use crate::support::last_line::is_upgraded;
use crate::support::releases::{THIS, next, place, reexec_count, script};
use crate::support::rig::{Master, Rig, send};
use crate::support::{proc, wait, worker};

crate::tests![
    unless_asked_workers_share_the_masters_standard_error,
    lines_of_several_workers_arrive_whole_and_in_order,
    a_line_without_an_end_arrives_in_pieces,
    what_failed_workers_said_last_is_told,
    a_flood_that_nobody_reads_is_kept_back_and_loses_nothing,
    re_execs_and_a_rollback_lose_nothing,
    a_wrapper_loses_nothing,
    what_the_log_owes_survives_a_re_exec,
    whoever_outlives_its_worker_is_heard_on,
    those_who_outlive_their_workers_are_bounded,
    upgrades_leave_no_descriptor_open,
    what_a_worker_said_is_told_before_its_end,
    a_master_that_leaves_passes_on_what_is_there,
    a_killed_master_is_heard_of_by_those_who_speak,
    the_systems_log_names_the_worker,
    a_master_that_listens_sleeps_while_nobody_speaks,
];

/// What workers said, by pid: the numbers of `count`, each in a line of its own.
///
/// # Panics
/// A line is neither one of those nor the master's.
fn counted(log: &str) -> BTreeMap<i32, Vec<u64>> {
    let mut counted: BTreeMap<i32, Vec<u64>> = BTreeMap::new();
    for line in log.lines().filter(|line| !line.starts_with("[MASTER ")) {
        let words = line.split_once(' ').and_then(|(pid, number)| {
            Some((pid.parse::<i32>().ok()?, number.parse::<u64>().ok()?))
        });
        let (pid, number) = words.unwrap_or_else(|| panic!("{line:?}"));
        counted.entry(pid).or_default().push(number);
    }
    counted
}

/// Lets workers count on until each has said something more, and then ends it: each has said every
/// number once, and left by itself.
fn count_to_the_end(rig: &Rig, master: &Master<'_>, workers: &[i32], stop: &Path) {
    let before = rig.log().len();
    master.until("they go on counting", || {
        let log = rig.log();
        let (start, _) = log[before..].split_once('\n')?;
        let later = counted(&log[before + start.len() + 1..]);
        workers.iter().all(|pid| later.contains_key(pid)).then_some(())
    });
    fs::write(stop, "").unwrap();
    for (index, pid) in workers.iter().enumerate() {
        master.until_logged(&format!("Exited worker {pid} (slot {index}): exit status 0"));
    }
    let counted = counted(&rig.log());
    for pid in workers {
        let numbers = &counted[pid];
        let expected = (1..=u64::try_from(numbers.len()).unwrap()).collect::<Vec<_>>();
        assert_eq!(*numbers, expected, "{pid}");
    }
}

/// Workers that count until a file is there, and then leave.
fn start_counting<'a>(rig: &'a Rig, options: &[&str], stop: &Path) -> Master<'a> {
    let count = format!("count={}", stop.display());
    let options = [&["--capture-stderr", "-n", "2", "-m", "0"], options].concat();
    rig.start(&options, &[&count, "exit=0"])
}

fn unless_asked_workers_share_the_masters_standard_error() {
    for is_captured in [false, true] {
        let rig = Rig::new();
        let options = if is_captured { &["--capture-stderr"][..] } else { &[] };
        let arguments = [options, &["-m", "0", "sleep", "1000"]].concat();
        let master = rig.launch(rig.einhorn(&arguments));
        let worker = master.settled(1)[0];
        let ours = proc::descriptors(master.pid());
        // Those of a program that is being loaded come and go.
        let theirs = master.until("it has three descriptors", || {
            let theirs = proc::descriptors(worker);
            theirs.keys().copied().eq(0..3).then_some(theirs)
        });
        assert_eq!((&ours[&0], &ours[&1]), (&theirs[&0], &theirs[&1]));
        assert_eq!(theirs[&2].to_string_lossy().starts_with("pipe:"), is_captured);
        assert!(!proc::flags(worker, 2).contains(OFlag::O_NONBLOCK));
        // With a pipe, the master has its reading end and no other.
        let shared: Vec<i32> =
            ours.into_iter().filter(|(_, open)| *open == theirs[&2]).map(|it| it.0).collect();
        assert_eq!(shared.len(), 1, "{shared:?}");
        assert_eq!(shared[0] == 2, !is_captured);
    }
}

fn lines_of_several_workers_arrive_whole_and_in_order() {
    let rig = Rig::new();
    let stop = rig.path("stop");
    let master = start_counting(&rig, &[], &stop);
    let workers = master.settled(2);
    count_to_the_end(&rig, &master, &workers, &stop);
}

/// More than is kept of a line that does not end.
const LONG: usize = 100 * 1024;

fn a_line_without_an_end_arrives_in_pieces() {
    let rig = Rig::new();
    let mut command = rig.einhorn(&["--capture-stderr", "-m", "0", "sh", "-c"]);
    command.arg(format!("head -c {LONG} /dev/zero | tr '\\0' x >&2; echo >&2; exec sleep 1000"));
    let master = rig.launch(command);
    master.until("all of it is there", || {
        let log = rig.log();
        let pieces = log.lines().filter(|line| line.starts_with('x'));
        (pieces.map(str::len).sum::<usize>() == LONG).then_some(())
    });
    let pieces = rig.log().lines().filter(|line| line.starts_with('x')).count();
    assert!((2..=LONG / (16 * 1024) + 1).contains(&pieces), "{pieces}");
}

/// A master whose program is a script in the rig, which is made to fail; `ack` says how the first
/// one comes to be up.
fn start_script<'a>(rig: &'a Rig, options: &[&str], first: &str) -> Master<'a> {
    script(rig, "worker", &format!("#!/bin/sh\n{first}\n"));
    let mut command = rig.einhorn(&["--capture-stderr", "-n", "1"]);
    command.args(options).arg(rig.path("worker"));
    rig.launch(command)
}

fn what_failed_workers_said_last_is_told() {
    let rig = Rig::new();
    let options = ["-m", "0.3", "-s", "0.01", "--upgrade-max-failures", "2"];
    let master = start_script(&rig, &options, "exec sleep 1000");
    master.settled(1);
    // What an exception looks like: more than is told, colours, and a last line without an end.
    let fails = "i=0; while [ $i -lt 30 ]; do i=$((i+1)); echo \"  at frame $i\" >&2; done\n\
                 printf '\\033[31mno such module\\033[0m: größer' >&2; exit 3";
    script(&rig, "worker", &format!("#!/bin/sh\n{fails}\n"));
    let (code, stdout, stderr) = run(&rig, &["--json", "-e", "upgrade"]);
    assert_eq!((code, stderr.as_str()), (Some(4), ""), "{stdout}");
    let end: Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    let frames: Vec<String> = (22..=30).map(|frame| format!("  at frame {frame}")).collect();
    let due = format!("{}\n\\u{{1b}}[31mno such module\\u{{1b}}[0m: größer", frames.join("\n"));
    let failures = end["failures"].as_array().unwrap();
    assert_eq!(failures.len(), 2, "{stdout}");
    for failure in failures {
        assert_eq!(
            (&failure["what"], &failure["last_words"]),
            (&"exit status 3".into(), &due.as_str().into())
        );
    }
    let status: Value = serde_json::from_str(&master.say("status", &["--json"])).unwrap();
    assert_eq!(status["last_upgrade"]["failures"], end["failures"]);
    assert!(master.say("status", &[]).contains("\n    \\u{1b}[31mno such module"));
    // The log has them as they were, before the master's own line about that worker.
    let pid = &failures[0]["pid"];
    let log = rig.log();
    let whole = "  at frame 30\n\x1b[31mno such module\x1b[0m: größer\n[MASTER ";
    assert_eq!(log.matches(whole).count(), 2, "{log}");
    let exit = log.find(&format!("Exited worker {pid} ")).unwrap();
    assert!(log.find("no such module").unwrap() < exit);
    let (code, stdout, _) = run(&rig, &["-e", "wait"]);
    assert_eq!(code, Some(4));
    assert!(stdout.ends_with(": größer\n") && stdout.contains("\n      at frame 30\n"), "{stdout}");
}

/// A master whose log is a pipe that the test reads.
fn launch_unread<'a>(rig: &'a Rig, steps: &str) -> (Master<'a>, File) {
    let (reader, writer) = pipe().unwrap();
    let mut command = rig.einhorn(&["--capture-stderr", "-n", "2", "-m", "0", "sh", "-c", steps]);
    command.stderr(writer);
    let child = command.spawn().unwrap();
    drop(command);
    (rig.answering(child, rig.socket()), reader.into())
}

/// The most that a worker writes in a flood, and its last line.
const FLOOD: u64 = 300_000;

/// Reads the log until each of these workers has said its last number, and checks that each has
/// said all of them. Answers the master's own lines.
fn read_flood(mut log: File, workers: &[i32]) -> Vec<String> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    let mut left: Vec<i32> = workers.to_vec();
    while !left.is_empty() {
        let count = log.read(&mut chunk).unwrap();
        assert!(count > 0, "the log ends before they have said all");
        let from = bytes.len().saturating_sub(32);
        bytes.extend_from_slice(&chunk[..count]);
        let text = String::from_utf8_lossy(&bytes[from..]);
        left.retain(|pid| !text.contains(&format!("\n{pid} {FLOOD}\n")));
    }
    // It may have been cut inside the master's next line.
    let text = String::from_utf8(bytes).unwrap();
    let whole = &text[..=text.rfind('\n').unwrap()];
    for (pid, numbers) in counted(whole) {
        assert!(workers.contains(&pid));
        assert!(numbers.into_iter().eq(1..=FLOOD), "{pid} was not heard in full");
    }
    whole.lines().filter(|line| line.starts_with("[MASTER ")).map(str::to_owned).collect()
}

/// What a shell does that says all numbers, in blocks that end anywhere.
fn flood(most: u64) -> String {
    format!("seq -f \"$$ %.0f\" 1 {most} >&2; exec sleep 1000")
}

fn a_flood_that_nobody_reads_is_kept_back_and_loses_nothing() {
    let rig = Rig::new();
    let (master, log) = launch_unread(&rig, &flood(FLOOD));
    let workers = master.settled(2);
    // Everybody waits for the reader, and the master for whatever else may happen.
    proc::until_idle(master.pid());
    let is_kept_back = |worker: &i32| proc::stat(*worker).is_some_and(|it| it.name == "sh");
    assert!(workers.iter().all(is_kept_back), "the master has taken it all in");
    assert!(master.say("signal", &["WINCH"]).contains("Successfully"));
    let read = std::thread::spawn(move || read_flood(log, &workers));
    master.until("all is read", || {
        master.say("ehlo", &[]);
        read.is_finished().then_some(())
    });
    let lines = read.join().unwrap();
    assert!(!lines.iter().any(|line| line.contains("dropped")), "{lines:?}");
}

fn re_execs_and_a_rollback_lose_nothing() {
    let rig = Rig::new();
    let stop = rig.path("stop");
    place(&rig, Path::new(THIS), "m");
    let mut command = rig.command(rig.path("m"));
    command.args(["--capture-stderr", "-n", "2", "-m", "0"]);
    command.env("EINHORN_TEST_FAIL_ADOPT", "build");
    command.arg(std::env::current_exe().unwrap()).args([worker::FLAG]);
    command.args([&format!("count={}", stop.display()), "exit=0"]);
    let master = rig.launch(command);
    let workers = master.settled(2);
    for _ in 0..5 {
        assert!(master.say("reload", &[]).starts_with("Reload done"));
    }
    place(&rig, next(), "m");
    let answer = master.say("reload", &[]);
    assert!(answer.starts_with("Rolled back, this release goes on: "), "{answer}");
    place(&rig, Path::new(THIS), "m");
    assert!(master.say("reload", &[]).starts_with("Reload done"));
    assert_eq!((reexec_count(&rig), master.settled(2)), (6, workers.clone()));
    count_to_the_end(&rig, &master, &workers, &stop);
}

fn a_wrapper_loses_nothing() {
    for mode in ["exec", "pinned"] {
        let rig = Rig::new();
        let stop = rig.path("stop");
        // It takes its time, and reaps what ends meanwhile.
        script(&rig, "wrapper", "#!/bin/bash\nsleep 0.3\nexec EINHORN \"$@\"\n");
        let wrapper = rig.path("wrapper").display().to_string();
        let options = ["--reexec-as", &wrapper, "--reexec-mode", mode];
        let master = start_counting(&rig, &options, &stop);
        let workers = master.settled(2);
        for _ in 0..3 {
            assert!(master.say("reload", &[]).starts_with("Reload done"));
        }
        count_to_the_end(&rig, &master, &workers, &stop);
    }
}

fn what_the_log_owes_survives_a_re_exec() {
    let rig = Rig::new();
    let (master, log) = launch_unread(&rig, &flood(FLOOD));
    let workers = master.settled(2);
    proc::until_idle(master.pid());
    for round in 0..3 {
        if round == 2 {
            overfill(&rig);
        }
        assert!(master.say("reload", &[]).starts_with("Reload done"));
    }
    let lines = read_flood(log, &workers);
    let told = |text| lines.iter().filter(|line| line.contains(text)).count();
    // That of the last one may have been too much.
    assert!((2..=3).contains(&told("Re-executed: from")));
    assert_eq!(told("log lines were dropped"), 1);
}

/// A worker that leaves somebody behind, who speaks once a file is there and then ends.
const LEAVES_SOMEBODY: &str = "(
    while [ ! -e \"$TMPDIR/speak\" ]; do sleep 0.01; done
    echo 'I live on' >&2
) </dev/null >/dev/null &
";

fn whoever_outlives_its_worker_is_heard_on() {
    let rig = Rig::new();
    let master = start_script(&rig, &["-m", "0"], &format!("{LEAVES_SOMEBODY} exec sleep 1000"));
    let worker = master.settled(1)[0];
    script(&rig, "worker", "#!/bin/sh\nexec sleep 1000\n");
    let pipes = || {
        let open = proc::descriptors(master.pid()).into_values();
        open.filter(|open| open.to_string_lossy().starts_with("pipe:")).count()
    };
    let before = pipes();
    send(worker, Signal::SIGKILL);
    master.until_logged(&format!("Exited worker {worker} "));
    master.settled(1);
    assert_eq!(pipes(), before + 1);
    assert!(master.say("reload", &[]).starts_with("Reload done"));
    assert_eq!(pipes(), before + 1);
    fs::write(rig.path("speak"), "").unwrap();
    master.until_logged("I live on\n");
    master.until("its pipe is closed", || (pipes() == before).then_some(()));
}

fn those_who_outlive_their_workers_are_bounded() {
    let rig = Rig::new();
    // A quarter of the descriptors: as many are heard that nobody is responsible for.
    let (limit, most) = (80, 20);
    script(&rig, "worker", "#!/bin/sh\nsleep 1000 </dev/null >/dev/null &\n");
    let options = ["--capture-stderr", "-n", "8", "-m", "0", "./worker"];
    let limited = format!("ulimit -n {limit}; exec \"$@\"");
    let mut master = rig.launch(rig.shell(&limited, &options));
    master.until_logged_times(2, &format!("is not heard any more: {most} others are heard"));
    let pipes = proc::descriptors(master.pid()).len();
    assert!(pipes < limit, "{pipes}");
    assert!(!rig.log().contains("cannot make a pipe"), "{}", rig.log());
    master.signal(Signal::SIGTERM);
    assert!(master.ended().success());
}

fn upgrades_leave_no_descriptor_open() {
    let rig = Rig::new();
    let steps = ["complain=I am here\\n", "wait"];
    let master = rig.start(&["--capture-stderr", "-n", "2", "-m", "0"], &steps);
    let count = || {
        master.until_left_alone();
        proc::descriptors(master.pid()).len()
    };
    master.settled(2);
    assert!(master.say("reload", &[]).starts_with("Reload done"));
    master.until_left_alone();
    let before = count();
    for _ in 0..20 {
        assert!(is_upgraded(&master.say("upgrade", &[])));
    }
    master.settled(2);
    master.until("the descriptors are as many as before", || (count() <= before).then_some(()));
    // Some have been told to go before they could say it.
    assert!(rig.log().matches("I am here\n\n").count() >= 20, "{}", rig.log());
}

fn what_a_worker_said_is_told_before_its_end() {
    let rig = Rig::new();
    let mut command = rig.einhorn(&["--capture-stderr", "-m", "0", "sh", "-c"]);
    let leaves = "trap 'printf \"my last words\" >&2; exit 0' TERM; echo begun >&2; \
                  while :; do sleep 0.01; done";
    command.arg(leaves);
    let mut master = rig.launch(command);
    master.until_logged("\nbegun\n");
    let worker = master.settled(1)[0];
    // Both come to pass while the master looks at neither.
    master.signal(Signal::SIGSTOP);
    send(worker, Signal::SIGTERM);
    master.until("it has ended", || proc::has_ended(worker).then_some(()));
    master.signal(Signal::SIGCONT);
    master.until_logged(&format!("Exited worker {worker} "));
    let told = format!("\nmy last words\n[MASTER {}] INFO: ===> Exited worker", master.pid());
    assert!(rig.log().contains(&told), "{}", rig.log());
    master.until_logged_times(2, "\nbegun\n");
    master.signal(Signal::SIGTERM);
    assert!(master.ended().success());
    assert_eq!(rig.log().matches(&told).count(), 2, "{}", rig.log());
}

fn a_master_that_leaves_passes_on_what_is_there() {
    let rig = Rig::new();
    // Less than the pipes hold, and more than that of the log.
    let (mut master, mut log) = launch_unread(&rig, &flood(6_000));
    for pid in master.settled(2) {
        master.until("it has said all", || {
            proc::stat(pid).is_some_and(|stat| stat.name == "sleep").then_some(())
        });
    }
    master.signal(Signal::SIGQUIT);
    let mut told = String::new();
    log.read_to_string(&mut told).unwrap();
    assert_eq!(master.ended().code(), Some(1));
    assert!(told.ends_with("INFO: Leaving with exit status 1\n"), "{told}");
    for (pid, numbers) in counted(&told) {
        assert!(numbers.into_iter().eq(1..=6_000), "{pid} was not heard in full");
    }
}

fn a_killed_master_is_heard_of_by_those_who_speak() {
    let rig = Rig::new();
    let stop = rig.path("stop");
    let mut master = start_counting(&rig, &[], &stop);
    let workers = master.settled(2);
    master.signal(Signal::SIGKILL);
    master.ended();
    // They would count for ever, but for the error or the signal that a write without a reader
    // gives.
    for worker in workers {
        wait::until_some("it ends", || proc::has_ended(worker).then_some(()), || rig.log());
    }
}

fn the_systems_log_names_the_worker() {
    if !may_mount() {
        return;
    }
    let rig = Rig::new();
    let socket = UnixDatagram::bind(rig.subfolder("dev").join("log")).unwrap();
    socket.set_read_timeout(Some(wait::PATIENCE)).unwrap();
    let says = "echo one >&2; printf 'two\\n\\n' >&2; exec sleep 1000";
    let options = ["--syslog", "--capture-stderr", "-m", "0", "sh", "-c", says];
    let master = rig.launch(with_devices(&rig, &options));
    let worker = master.settled(1)[0];
    let start = format!("<30>einhorn[{}]: ", master.pid());
    let mut buffer = [0; 4096];
    for due in ["one", "two"] {
        loop {
            let length = socket.recv(&mut buffer).unwrap();
            let line = std::str::from_utf8(&buffer[..length]).unwrap();
            if line == format!("{start}worker {worker}: {due}") {
                break;
            }
            assert!(line.starts_with(&start) && !line.contains("worker "), "{line}");
        }
    }
    assert_eq!(rig.log(), "");
}

fn a_master_that_listens_sleeps_while_nobody_speaks() {
    let rig = Rig::new();
    // One has closed its standard error, which is readable for ever.
    let mut command = rig.einhorn(&["--capture-stderr", "-n", "2", "-m", "0", "sh", "-c"]);
    command.arg("echo before >&2; exec 2>&-; exec sleep 1000");
    let master = rig.launch(command);
    let worker = master.settled(2)[0];
    proc::until_idle(master.pid());
    assert!(master.say("reload", &[]).starts_with("Reload done"));
    proc::until_idle(master.pid());
    master.replaced(&[worker], 2);
    proc::until_idle(master.pid());
    assert_eq!(rig.log().matches("before\n").count(), 3);
}
