//! The schedule of `--stop`, with real workers.

use std::fs;

use einhorn::status::Status;
use nix::sys::signal::Signal;

use crate::support::rig::{Master, Rig};
use crate::support::{proc, wait};

crate::tests![
    each_step_reaches_the_worker_and_kill_its_group,
    steps_and_deadlines_survive_a_reload,
    the_death_of_the_master_is_told_by_a_signal_that_ends,
    bad_schedules_are_refused_with_what_would_be_right,
];

fn status(master: &Master<'_>) -> Status {
    serde_json::from_str(&master.say("status", &["--json"])).unwrap()
}

/// A shell line that notes the signals that it gets in a file, and goes on.
const STUBBORN: &str = "trap 'echo TERM >>got' TERM; trap 'echo INT >>got' INT; \
                        sleep 1000 & echo $! >child; echo up >up; while :; do wait; done";

fn started<'a>(rig: &'a Rig, schedule: &str) -> Master<'a> {
    let mut command = rig.einhorn(&["--stop", schedule, "-m", "0", "sh", "-c", STUBBORN]);
    command.current_dir(rig.path(""));
    let master = rig.launch(command);
    master.until("it is up", || rig.path("up").exists().then_some(()));
    master
}

fn each_step_reaches_the_worker_and_kill_its_group() {
    let rig = Rig::new();
    let mut master = started(&rig, "TERM/0.2/INT/0.2/KILL");
    let child: i32 = fs::read_to_string(rig.path("child")).unwrap().trim().parse().unwrap();
    master.signal(Signal::SIGTERM);
    assert!(master.ended().success(), "{}", rig.log());
    assert_eq!(fs::read_to_string(rig.path("got")).unwrap(), "TERM\nINT\n");
    let gone = || proc::has_ended(child).then_some(());
    wait::until_some("the child is gone", gone, || rig.log());
    rig.until_empty();
}

fn steps_and_deadlines_survive_a_reload() {
    let rig = Rig::new();
    let master = started(&rig, "TERM/1000/INT/1000/KILL");
    assert!(master.say("set_workers", &["2"]).contains("1 -> 2"));
    let is_up = || (status(&master).master.acked == 2).then_some(());
    master.until("the other is up", is_up);
    assert!(master.say("dec", &[]).contains("2 -> 1"));
    let draining = || status(&master).workers.into_iter().find(|worker| worker.step.is_some());
    let before = master.until("one is asked to stop", draining);
    let (step, next) = (before.step.clone().unwrap(), before.next_signal.as_deref());
    assert_eq!((step.number, step.of, step.signal.as_str(), next), (1, 3, "TERM", Some("INT")));
    assert!(master.say("reload", &[]).starts_with("Reload done"), "{}", rig.log());
    let after = draining().unwrap();
    assert_eq!(
        (after.pid, after.step.clone(), after.next_signal.as_deref()),
        (before.pid, before.step, next)
    );
    assert!(after.deadline_ms.unwrap() <= before.deadline_ms.unwrap(), "{after:?}");
    assert!(after.deadline_ms.unwrap() > 900_000, "{after:?}");
    // A shorter time counts from when the step began.
    let told = master.say("config", &["{stop: TERM/0.1/KILL}"]);
    assert_eq!(told, "Changed stop to TERM/0.1/KILL");
    master.until("it is killed", || draining().is_none().then_some(()));
}

fn the_death_of_the_master_is_told_by_a_signal_that_ends() {
    let rig = Rig::new();
    let options = ["-k", "--stop", "TSTP/900/TERM/20/KILL", "-m", "0", "sleep", "1000"];
    let mut master = rig.launch(rig.einhorn(&options));
    let worker = master.settled(1)[0];
    master.signal(Signal::SIGKILL);
    assert!(!master.ended().success());
    master.until("the worker ends", || proc::has_ended(worker).then_some(()));
}

fn bad_schedules_are_refused_with_what_would_be_right() {
    for (options, why) in [
        (&["--stop", "TERM/30"][..], "must end with a signal"),
        (&["--stop", "30"], "TERM/30/KILL"),
        (&["--stop", "TSTP"], "must have a signal that ends a program"),
        (&["--stop", "TERM/30/KILL", "-t", "5"], "--signal-timeout"),
    ] {
        let rig = Rig::new();
        let output = rig.einhorn(&[options, &["sleep", "1"]].concat()).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && told.contains(why), "{options:?}: {told}");
        assert_eq!(told.lines().count(), 1, "{told}");
    }
}
