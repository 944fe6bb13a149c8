//! What dies is replaced: at once when it had been up, backed off when it had not.

use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigHandler, Signal, signal};

use crate::support::rig::{Rig, names, prepare, send};
use crate::support::{proc, wait};

crate::tests![
    acked_workers_are_replaced_at_once_whatever_the_interval,
    deaths_before_an_ack_back_off,
    a_program_that_cannot_be_executed_is_named_and_backs_off,
    crashes_right_after_the_ack_keep_a_pace,
    a_fleet_that_crashes_after_its_ack_keeps_a_pace,
    every_end_is_told_in_words,
    a_worker_killed_by_a_real_time_signal_is_replaced,
    a_core_dump_is_told,
    an_ignored_sigchld_does_not_hide_how_workers_ended,
    after_the_last_of_the_retries_the_master_leaves,
];

fn acked_workers_are_replaced_at_once_whatever_the_interval() {
    let rig = Rig::new();
    let master = rig.start(&["-n", "20", "-m", "manual", "-s", "30"], &["ack", "wait"]);
    let first = master.settled(20);
    for pid in &first {
        send(*pid, Signal::SIGKILL);
    }
    master.until_logged_times(20, "killed by SIGKILL");
    let second = master.settled(20);
    assert!(second.iter().all(|pid| !first.contains(pid)));
    let indexes: Vec<u64> = master.workers().iter().map(|worker| worker.index).collect();
    assert_eq!(
        {
            let mut sorted = indexes;
            sorted.sort();
            sorted
        },
        (0..20).collect::<Vec<_>>()
    );
}

fn deaths_before_an_ack_back_off() {
    let rig = Rig::new();
    let begun = Instant::now();
    let master = rig.start(&["-m", "manual", "-s", "0.2"], &["exit=3"]);
    // 0.3, 0.45 and 0.675 seconds lie between the first four starts.
    master.until_logged_times(4, "Launched");
    assert!(begun.elapsed() >= Duration::from_millis(1425));
    assert!(rig.log().contains("before it was ACKed: exit status 3"), "{}", rig.log());
}

fn a_program_that_cannot_be_executed_is_named_and_backs_off() {
    let rig = Rig::new();
    std::fs::write(rig.path("plain"), "no program").unwrap();
    for (program, why) in [
        ("./missing", "cannot execute ./missing: No such file or directory"),
        ("./plain", "not executable"),
        ("./", "it is a directory"),
    ] {
        let mut master = rig.launch(rig.einhorn(&["-n", "3", "-s", "20", program]));
        master.until_logged(why);
        let count = || rig.log().matches(why).count();
        wait::throughout(Duration::from_millis(300), || assert_eq!(count(), 1, "{}", rig.log()));
        master.signal(Signal::SIGTERM);
        assert!(master.ended().success());
    }
}

/// Lets so many workers crash as soon as they are up, for three seconds. At first all are started,
/// then a burst of two each; after that one start in a period keeps the pace.
fn keeps_pace(workers: u32, period: Duration) {
    let rig = Rig::new();
    let begun = Instant::now();
    let master = rig.start(&["-n", &workers.to_string(), "-m", "0"], &["exit=1"]);
    let ticks = || proc::stat(master.pid()).unwrap().ticks;
    let before = ticks();
    wait::throughout(Duration::from_secs(3), || ());
    let used = ticks() - before;
    let count = rig.log().matches("Launched").count();
    let paced = begun.elapsed().as_millis() / period.as_millis();
    let most = 3 * workers as usize + usize::try_from(paced).unwrap() + 1;
    assert!(count <= most, "{count} starts, not {most}");
    // It goes on, though slowly on a busy machine.
    assert!(count > most / 3, "{count} starts of {most}");
    assert!(used < 100, "{used} ticks of three hundred");
    assert!(!rig.log().contains("before it was ACKed"), "{}", rig.log());
}

fn crashes_right_after_the_ack_keep_a_pace() {
    keeps_pace(1, Duration::from_millis(500));
}

fn a_fleet_that_crashes_after_its_ack_keeps_a_pace() {
    keeps_pace(10, Duration::from_millis(50));
}

fn every_end_is_told_in_words() {
    for (step, told) in [
        ("exit=0", "exit status 0"),
        ("exit=255", "exit status 255"),
        ("raise=SIGTERM", "killed by SIGTERM"),
        ("raise=SIGUSR1", "killed by SIGUSR1"),
    ] {
        let rig = Rig::new();
        let master = rig.start(&["-m", "0"], &[step]);
        master.until_logged(&format!("(slot 0): {told} after "));
    }
}

fn a_worker_killed_by_a_real_time_signal_is_replaced() {
    let rig = Rig::new();
    let master = rig.start(&["-m", "manual"], &["ack", "wait"]);
    let worker = master.settled(1)[0];
    // SIGRTMIN+3 of Linux; `kill` of the shell, since Signal has no real-time ones.
    let mut kill = rig.command("sh");
    kill.args(["-c", &format!("kill -37 {worker}")]);
    assert!(kill.status().unwrap().success());
    master.until_logged(&format!("Exited worker {worker} (slot 0): killed by signal 37 after"));
    assert_ne!(master.settled(1), [worker]);
    assert!(proc::stat(worker).is_none());
}

fn a_core_dump_is_told() {
    let rig = Rig::new();
    let script = "ulimit -c unlimited 2>/dev/null; kill -ABRT $$";
    // Whether the kernel dumps here at all, by what another parent learns of the same.
    let status = rig.command("sh").args(["-c", script]).status().unwrap();
    assert_eq!(status.signal(), Some(6));
    let told = if status.core_dumped() { "SIGABRT (core dumped) after" } else { "SIGABRT after" };
    let master = rig.launch(rig.einhorn(&["-s", "1000", "sh", "-c", script]));
    master.until_logged(&format!("killed by {told}"));
}

fn an_ignored_sigchld_does_not_hide_how_workers_ended() {
    let rig = Rig::new();
    let mut command = rig.einhorn(&["-s", "1000", "sh", "-c", "exit 9"]);
    prepare(&mut command, || {
        // SAFETY: ignoring a signal runs no code.
        unsafe { signal(Signal::SIGCHLD, SigHandler::SigIgn) }?;
        Ok(())
    });
    let master = rig.launch(command);
    master.until_logged("before it was ACKed: exit status 9");
    assert!(master.workers().is_empty());
}

fn after_the_last_of_the_retries_the_master_leaves() {
    let rig = Rig::new();
    let mut command = rig.einhorn(&["-r", "3", "-m", "manual", "-s", "0.02"]);
    command.args(["sh", "-c", "exit 1"]);
    let mut master = rig.begin(command);
    let ended = wait::until_some("it leaves", || master.try_wait().unwrap(), || rig.log());
    assert_eq!(ended.code(), Some(1), "{}", rig.log());
    assert_eq!(rig.log().matches("Launched").count(), 3, "{}", rig.log());
    assert!(rig.log().contains("Giving up after 3 consecutive deaths"), "{}", rig.log());
    assert_eq!(names(&rig.path("")), ["einhorn.lock", "einhorn.sock.lock", "log"]);
}
