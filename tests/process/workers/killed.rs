//! Workers that are killed instead of draining: what is told of them, before and after.

use std::fs;

use einhorn::outcome::Outcome;
use einhorn::status::{Health, WarningKind};

use crate::support::einhornsh::{ask, status, tell};
use crate::support::rig::{Master, Rig};
use crate::support::wait;

crate::tests![
    an_upgrade_of_workers_without_a_handler_ends_with_8,
    a_worker_that_ends_by_a_signal_that_it_handles_was_not_killed,
    kill_at_the_end_of_the_schedule_is_told,
    who_asks_for_kill_is_not_told_of_it,
    drained_waits_for_the_old_workers,
    a_smaller_fleet_is_settled_once_the_others_are_gone,
];

/// Until as many workers are up, and what they do with signals is known.
fn until_up(rig: &Rig, count: u32) {
    let look = || (status(rig).0.master.acked == count).then_some(());
    wait::until_some("all are up", look, || rig.log());
}

/// What the warnings of a kind say.
fn warnings(rig: &Rig, kind: WarningKind) -> Vec<String> {
    let (status, _) = status(rig);
    let of_kind = status.warnings.into_iter().filter(|warning| warning.kind == kind);
    of_kind.map(|warning| warning.message).collect()
}

fn started<'a>(rig: &'a Rig, options: &[&str], script: &str) -> Master<'a> {
    let words = [options, &["-m", "0.1", "sh", "-c", script]].concat();
    let mut command = rig.einhorn(&words);
    command.current_dir(rig.path(""));
    rig.launch(command)
}

fn an_upgrade_of_workers_without_a_handler_ends_with_8() {
    let rig = Rig::new();
    let _master = rig.launch(rig.einhorn(&["-n", "2", "-m", "0.1", "sleep", "1000"]));
    until_up(&rig, 2);
    let warned = warnings(&rig, WarningKind::NoHandler);
    let (now, is_ok) = status(&rig);
    assert!(now.health == Health::Ok && is_ok, "{now:?}");
    assert!(warned.len() == 1 && warned[0].contains("no handler for USR2"), "{warned:?}");
    assert!(warned[0].contains("(sleep)") && warned[0].contains("--stop TERM/30/KILL"));
    assert_eq!(crate::shell::sessions::run(&rig, &["-e", "status --strict"]).0, Some(1));

    let why = "but 2 old workers were killed instead of draining: sleep has no handler for USR2 \
               (see --stop)";
    for command in ["upgrade", "upgrade_fleet"] {
        let told = tell(&rig, command);
        told.ended(Outcome::Killed, "Upgrade done: 2 workers of generation ");
        assert!(told.end.message.ends_with(why), "{}", told.end.message);
    }
    tell(&rig, "wait").ended(Outcome::Killed, "How the last upgrade ended: Upgrade done: ");
    let last = status(&rig).0.last_upgrade.unwrap();
    assert_eq!((last.outcome, last.killed), (Outcome::Killed, 2));
    // The cure is told once a generation, and every worker is.
    assert_eq!(rig.log().matches("it has no handler for USR2; name the signals").count(), 2);
    assert_eq!(rig.log().matches("was killed instead of draining: it has no").count(), 4);
}

fn a_worker_that_ends_by_a_signal_that_it_handles_was_not_killed() {
    let rig = Rig::new();
    // It ends as uvicorn does.
    let script = "trap 'trap - TERM; kill -TERM $$' TERM; while :; do sleep 0.01; done";
    let _master = started(&rig, &["--stop", "TERM/30/KILL"], script);
    until_up(&rig, 1);
    let beginning = "Upgrade done: all workers before generation 1 are gone";
    tell(&rig, "upgrade --drained").ended(Outcome::Done, beginning);
    assert!(rig.log().contains("killed by SIGTERM"), "{}", rig.log());
    assert_eq!(status(&rig).0.warnings, []);
}

fn kill_at_the_end_of_the_schedule_is_told() {
    let rig = Rig::new();
    let script = "trap '' TERM; exec sleep 1000";
    let _master = started(&rig, &["--stop", "TERM/0.3/KILL"], script);
    until_up(&rig, 1);
    let warned = warnings(&rig, WarningKind::NoHandler);
    assert!(warned[0].contains("TERM is ignored"), "{warned:?}");
    // It is up to whoever asks whether what happens after the end matters.
    tell(&rig, "upgrade").done();
    let later = || Some(warnings(&rig, WarningKind::Killed)).filter(|warned| !warned.is_empty());
    let later = wait::until_some("it is killed", later, || rig.log());
    assert!(later[0].starts_with("1 old worker was killed"), "{later:?}");
    tell(&rig, "upgrade --drained")
        .ended(Outcome::Killed, "Upgrade done: all workers before generation 2 are gone");
    assert_eq!(warnings(&rig, WarningKind::Killed).len(), 1);
    assert!(rig.log().contains("it was sent KILL, the last step of --stop TERM/0.3/KILL"));
}

fn who_asks_for_kill_is_not_told_of_it() {
    let rig = Rig::new();
    let options = ["-n", "2", "-m", "0.1", "--stop", "KILL", "sleep", "1000"];
    let _master = rig.launch(rig.einhorn(&options));
    until_up(&rig, 2);
    assert_eq!(status(&rig).0.warnings, []);
    tell(&rig, "upgrade --drained").ended(Outcome::Done, "Upgrade done: ");
    assert_eq!(status(&rig).0.warnings, []);
}

/// A worker that drains until the file `go` is there.
const SLOW: &str = "trap 'until [ -e go ]; do sleep 0.01; done; exit 0' TERM; \
                    while :; do sleep 0.01; done";

fn drained_waits_for_the_old_workers() {
    let rig = Rig::new();
    let _master = started(&rig, &["--stop", "TERM/100/KILL"], SLOW);
    until_up(&rig, 1);
    let mut asked = ask(&rig, "upgrade --drained");
    let is_draining = || {
        let (now, _) = status(&rig);
        (now.last_upgrade.is_some() && now.workers.len() == 2).then_some(())
    };
    wait::until_some("the old one drains", is_draining, || rig.log());
    let joined = ask(&rig, "wait --drained");
    tell(&rig, "wait").ended(Outcome::Done, "How the last upgrade ended: Upgrade done: 1 worker");
    assert!(!asked.is_over());
    fs::write(rig.path("go"), "").unwrap();
    for told in [asked.told(), joined.told()] {
        told.ended(Outcome::Done, "Upgrade done: all workers before generation 1 are gone");
    }
    tell(&rig, "wait --drained").ended(Outcome::Done, "How the last upgrade ended: Upgrade done:");
}

fn a_smaller_fleet_is_settled_once_the_others_are_gone() {
    let rig = Rig::new();
    let _master = started(&rig, &["-n", "2", "--stop", "TERM/100/KILL"], SLOW);
    until_up(&rig, 2);
    let mut asked = ask(&rig, "set_workers 1 --wait");
    let is_asked = || (status(&rig).0.workers[1].step.is_some()).then_some(());
    wait::until_some("one is asked to stop", is_asked, || rig.log());
    assert!(!asked.is_over());
    fs::write(rig.path("go"), "").unwrap();
    asked.told().ended(Outcome::Done, "1 worker is up");
}
