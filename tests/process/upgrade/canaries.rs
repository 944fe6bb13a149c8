//! The first new worker of a smooth upgrade: nobody goes for it before it has shown what it is
//! worth, to the clock and to the command of `--on-canary`.

use std::fs;

use einhorn::outcome::Outcome;
use einhorn::protocol::ProgressStage;
use einhorn::status::WorkerState;
use nix::sys::signal::Signal;

use crate::support::deploys::{self, deploy, deploy_good, directory, runs};
use crate::support::einhornsh::{Asked, ask, status, tell};
use crate::support::releases::{reexec_count, script};
use crate::support::rig::{Master, Rig, has, send};
use crate::support::state_dump::{Moment, stays, unharmed, until_moment};
use crate::support::{proc, wait};
use crate::upgrade::wrappers::{let_go, until_wrapper_runs, waiting};

crate::tests![
    the_check_is_told_of_the_worker_and_lets_the_others_come,
    a_check_that_fails_ends_the_upgrade,
    a_check_that_hangs_is_ended_with_all_that_it_started,
    a_check_that_cannot_be_started_ends_the_upgrade,
    a_canary_that_dies_takes_its_check_along,
    a_canary_has_its_time_and_config_changes_it,
    old_workers_that_die_meanwhile_are_replaced_by_their_own_code,
    a_fleet_has_no_check_and_all_of_it_have_their_time,
    an_abort_ends_a_check,
    who_has_lost_the_terminal_attaches_again,
    a_check_goes_on_across_a_reload,
    a_check_that_a_wrapper_has_reaped_never_passes,
];

/// Writes down what it was given, and takes its time.
const WAITING: &str = "#!/bin/sh
env > \"$TMPDIR/given.draft\"; pwd > \"$TMPDIR/directory\"
mv \"$TMPDIR/given.draft\" \"$TMPDIR/given\"
until [ -e \"$TMPDIR/answer\" ]; do sleep 0.02; done
exit $(cat \"$TMPDIR/answer\")
";

/// Three workers of a release, and a command that is asked about canaries.
fn start<'a>(rig: &'a Rig, check: &str, options: &[&str]) -> Master<'a> {
    deploy_good(rig, "01");
    let check = script(rig, "check", check).display().to_string();
    let ours = ["-n", "3", "-m", "manual", "-s", "0.02", "--on-canary", &check];
    deploys::start(rig, "01", &[&ours, options].concat())
}

/// Lets a check that waits end with this exit status.
fn answer(rig: &Rig, status: u8) {
    fs::write(rig.path("answer.draft"), status.to_string()).unwrap();
    fs::rename(rig.path("answer.draft"), rig.path("answer")).unwrap();
}

/// Waits until the check runs; answers the pid of the worker that it is about.
fn until_asked(rig: &Rig, master: &Master<'_>) -> i32 {
    let given = master.until("the check runs", || fs::read_to_string(rig.path("given")).ok());
    fs::remove_file(rig.path("given")).unwrap();
    let pid = given.lines().find_map(|line| line.strip_prefix("EINHORN_CANARY_PID="));
    pid.unwrap().parse().unwrap()
}

/// The new worker is up, alone, and nobody was told to go.
fn is_alone(moment: &Moment) {
    let seen = [moment.up(), moment.unacked(), moment.staying(), moment.asked_to_stop()];
    assert_eq!(seen, [1, 0, 4, 0], "{moment:?}");
}

/// The upgrade has failed, and only the old ones are left.
fn is_undone(rig: &Rig, master: &Master<'_>, old: &[i32]) {
    until_moment(master, "only the old ones are left", |moment| moment.workers.len() == 3);
    assert_eq!(master.settled(3), old);
    assert_eq!(Moment::of(master).version, 0);
    runs(master, "01");
    // The master and its workers; nothing of the check.
    let look = || (rig.processes().len() == 4).then_some(());
    wait::until_some("nothing else is left", look, || format!("{:?}", rig.processes()));
}

fn the_check_is_told_of_the_worker_and_lets_the_others_come() {
    let rig = Rig::new();
    let master = start(&rig, WAITING, &["-g"]);
    unharmed(&master, || {
        deploy_good(&rig, "02");
        let mut asked = ask(&rig, "upgrade");
        let look = || fs::read_to_string(rig.path("given")).ok();
        let given = master.until("the check runs", look);
        stays(&master, is_alone);
        assert!(!asked.is_over());
        let (status, is_well) = status(&rig);
        assert!(is_well && status.in_progress.unwrap().stage == ProgressStage::Canary);
        let canary = status.workers.iter().find(|worker| worker.generation == 1).unwrap();
        assert_eq!(canary.state, WorkerState::Canary);
        let ours = given.lines().filter(|line| line.starts_with("EINHORN_"));
        let mut ours: Vec<&str> = ours.filter(|line| !line.contains("_TEST_")).collect();
        ours.sort_unstable();
        let expected = [
            "EINHORN_CANARY_GENERATION=1".to_owned(),
            format!("EINHORN_CANARY_PID={}", canary.pid),
            format!("EINHORN_MASTER_PID={}", master.pid()),
            format!("EINHORN_SOCK_PATH={}", rig.socket().display()),
        ];
        assert_eq!(ours, expected);
        let place = fs::read_to_string(rig.path("directory")).unwrap();
        assert_eq!(place.trim_end(), directory(&rig, "02").to_string_lossy());
        answer(&rig, 0);
        let told = asked.told();
        told.done();
        let stages: Vec<ProgressStage> = told.progress.iter().map(|line| line.stage).collect();
        let expected = [
            ProgressStage::Preflight,
            ProgressStage::HandingOver,
            ProgressStage::Canary,
            ProgressStage::Rollout,
        ];
        assert!(stages.is_sorted_by_key(|stage| expected.iter().position(|s| s == stage)));
        assert!(expected.iter().all(|stage| stages.contains(stage)), "{stages:?}");
        master.settled(3);
    });
    runs(&master, "02");
    assert_eq!(rig.log().matches("Running --on-canary").count(), 1);
}

/// A check that ends the upgrade in these words; the next one is told that all is well.
fn ends_it(check: &str, options: &[&str], why: &str) {
    let rig = Rig::new();
    let master = start(&rig, check, options);
    let old = master.settled(3);
    unharmed(&master, || {
        deploy_good(&rig, "02");
        let told = tell(&rig, "upgrade");
        let why = why.replace("TMPDIR", &rig.path("").display().to_string());
        told.ended(Outcome::Failed, "Upgrade failed: --on-canary");
        let then = format!("; generation 0 ({}) is still serving", directory(&rig, "01").display());
        assert!(told.end.message.ends_with(&format!("{why}{then}")), "{}", told.end.message);
        assert_eq!((told.end.numbers.acked, told.end.failures.len()), (1, 0), "{:?}", told.end);
        is_undone(&rig, &master, &old);
        tell(&rig, "wait").ended(Outcome::Failed, "How the last upgrade ended: ");
        deploy_good(&rig, "03");
        script(&rig, "check", "#!/bin/sh\n");
        tell(&rig, "upgrade").done();
        master.settled(3);
    });
    runs(&master, "03");
}

fn a_check_that_fails_ends_the_upgrade() {
    for (check, why) in [
        ("#!/bin/sh\nexit 1\n", " ended with exit status 1"),
        ("#!/bin/sh\nkill -KILL $$\n", " ended with killed by SIGKILL"),
    ] {
        ends_it(check, &[], why);
    }
}

fn a_check_that_hangs_is_ended_with_all_that_it_started() {
    let check = "#!/bin/sh\ntrap '' TERM INT HUP USR2\nsleep 1001 &\nsleep 1002\n";
    ends_it(check, &["--on-canary-timeout", "0.5"], " took longer than 0.5s");
}

fn a_check_that_cannot_be_started_ends_the_upgrade() {
    let why = " could not be started: cannot execute TMPDIRcheck: No such file or directory \
               (os error 2): the interpreter that it names is missing";
    ends_it("#!/no/such/shell\n", &[], why);
}

fn a_canary_that_dies_takes_its_check_along() {
    let rig = Rig::new();
    let master = start(&rig, WAITING, &[]);
    unharmed(&master, || {
        deploy_good(&rig, "02");
        let mut asked = ask(&rig, "upgrade");
        let first = until_asked(&rig, &master);
        // It finishes what it has begun, and exits with 0: in this time that is a failure too.
        send(first, Signal::SIGUSR2);
        let second = until_asked(&rig, &master);
        assert_ne!(first, second);
        stays(&master, is_alone);
        assert!(!asked.is_over());
        // The first check is gone, and the second one goes on.
        let checks = || proc::children(master.pid()).iter().filter(|p| p.name == "check").count();
        master.until("one check is left", || (checks() == 1).then_some(()));
        answer(&rig, 0);
        let told = asked.told();
        told.done();
        assert_eq!(told.end.numbers.failed, 1);
        let failure = &told.end.failures[0];
        let is_told = failure.what == "exit status 0 after its ACK";
        assert!(failure.pid == Some(first) && is_told, "{failure:?}");
        master.settled(3);
    });
    runs(&master, "02");
}

fn a_canary_has_its_time_and_config_changes_it() {
    let rig = Rig::new();
    let master = start(&rig, "#!/bin/sh\n", &["--canary-seconds", "1000"]);
    unharmed(&master, || {
        deploy_good(&rig, "02");
        let mut asked = ask(&rig, "upgrade");
        until_moment(&master, "the canary is up", |m| m.version == 1 && m.up() == 1);
        stays(&master, is_alone);
        assert!(!asked.is_over() && !rig.log().contains("Asking --on-canary"));
        tell(&rig, "config '{canary_seconds: 0.01}'").ended(Outcome::Done, "Changed ");
        asked.told().done();
        master.settled(3);
    });
    runs(&master, "02");
}

fn old_workers_that_die_meanwhile_are_replaced_by_their_own_code() {
    let rig = Rig::new();
    // As many as may wait for their ACK: the canary, which takes its time.
    let master = start(&rig, "#!/bin/sh\n", &["--max-unacked", "1"]);
    let old = master.settled(3);
    let gate = rig.path("gate");
    deploy(&rig, "02", &format!("until={} {}", gate.display(), deploys::good("02")));
    let asked = ask(&rig, "upgrade");
    until_moment(&master, "the canary waits", |m| m.version == 1 && m.unacked() == 1);
    // One after the other, so that the others serve.
    for pid in &old[..2] {
        send(*pid, Signal::SIGKILL);
        master.until_logged(&format!("Exited worker {pid}"));
        until_capacity(&master);
        runs(&master, "01");
    }
    let (seen, is_well) = status(&rig);
    let release = directory(&rig, "01").display().to_string();
    let serving = seen.workers.iter().filter(|worker| worker.state == WorkerState::Up);
    assert!(is_well && serving.clone().count() == 3, "{seen:?}");
    assert!(serving.clone().all(|w| w.release.as_ref() == Some(&release) && w.generation == 0));
    fs::write(gate, "").unwrap();
    unharmed(&master, || {
        asked.told().done();
        master.settled(3);
    });
    runs(&master, "02");
}

/// Waits until as many serve as are wanted; of those who die one is missing for a moment.
fn until_capacity(master: &Master<'_>) {
    master.until("three serve", || (Moment::of(master).capacity() == 3).then_some(()));
}

fn a_fleet_has_no_check_and_all_of_it_have_their_time() {
    let rig = Rig::new();
    let master = start(&rig, "#!/bin/sh\nexit 1\n", &["--canary-seconds", "1000"]);
    unharmed(&master, || {
        deploy_good(&rig, "02");
        let mut asked = ask(&rig, "upgrade_fleet");
        until_moment(&master, "all are up", |moment| moment.version == 1 && moment.up() == 3);
        stays(&master, |moment| {
            let seen = [moment.up(), moment.staying(), moment.asked_to_stop()];
            assert_eq!(seen, [3, 6, 0], "{moment:?}");
        });
        assert!(!asked.is_over());
        tell(&rig, "config '{canary_seconds: 0.01}'").ended(Outcome::Done, "Changed ");
        asked.told().done();
        master.settled(3);
    });
    runs(&master, "02");
    assert!(!rig.log().contains("--on-canary"));
}

/// An upgrade whose check waits.
fn until_checked(rig: &Rig, master: &Master<'_>) -> Asked {
    deploy_good(rig, "02");
    let asked = ask(rig, "upgrade");
    until_asked(rig, master);
    asked
}

fn an_abort_ends_a_check() {
    for reloads in [0, 1] {
        let rig = Rig::new();
        let master = start(&rig, WAITING, &[]);
        let old = master.settled(3);
        unharmed(&master, || {
            let asked = until_checked(&rig, &master);
            for _ in 0..reloads {
                tell(&rig, "reload").ended(Outcome::Done, "Reload done");
            }
            tell(&rig, "abort").ended(Outcome::Done, "Aborted the roll-out");
            let told = asked.told();
            told.ended(Outcome::Aborted, "Upgrade aborted: as commanded; generation 0 (");
            is_undone(&rig, &master, &old);
        });
    }
}

fn who_has_lost_the_terminal_attaches_again() {
    let rig = Rig::new();
    let master = start(&rig, WAITING, &[]);
    unharmed(&master, || {
        until_checked(&rig, &master).kill();
        let mut again = ask(&rig, "wait");
        // It is heard by the master before the answer is.
        stays(&master, is_alone);
        assert!(!again.is_over());
        answer(&rig, 0);
        let told = again.told();
        told.done();
        let first = told.progress.first().unwrap();
        assert_eq!(first.message, "Waiting for the upgrade in progress");
        assert_eq!(first.stage, ProgressStage::Canary);
        assert_eq!(told.end.release, Some(directory(&rig, "02").display().to_string()));
        master.settled(3);
    });
    runs(&master, "02");
}

fn a_check_goes_on_across_a_reload() {
    for (status, outcome) in [(0, Outcome::Done), (9, Outcome::Failed)] {
        let rig = Rig::new();
        let master = start(&rig, WAITING, &[]);
        let old = master.settled(3);
        unharmed(&master, || {
            let mut asked = until_checked(&rig, &master);
            for count in 2..4 {
                tell(&rig, "reload").ended(Outcome::Done, "Reload done");
                assert_eq!(reexec_count(&rig), count);
                stays(&master, is_alone);
            }
            assert!(!asked.is_over() && !rig.path("given").exists());
            answer(&rig, status);
            let told = asked.told();
            assert_eq!(told.end.outcome, outcome, "{:?}", told.end);
            if status == 0 {
                master.settled(3);
                return runs(&master, "02");
            }
            let is_told = told.end.message.contains(" ended with exit status 9; ");
            assert!(is_told, "{}", told.end.message);
            is_undone(&rig, &master, &old);
        });
    }
}

fn a_check_that_a_wrapper_has_reaped_never_passes() {
    for shell in ["bash", "dash"].into_iter().filter(|shell| has(shell)) {
        let rig = Rig::new();
        script(&rig, "wrapper", "#!/bin/sh\nexec EINHORN \"$@\"\n");
        let wrapper = rig.path("wrapper").display().to_string();
        let master = start(&rig, WAITING, &["--reexec-as", &wrapper]);
        let old = master.settled(3);
        let told = unharmed(&master, || {
            let asked = until_checked(&rig, &master);
            let check = proc::children(master.pid()).into_iter().find(|p| p.name == "check");
            let waiting = waiting(shell).replacen('\n', "\ncd \"$TMPDIR\"\n", 1);
            script(&rig, "wrapper", &waiting);
            let mut client = until_wrapper_runs(&rig);
            answer(&rig, 0);
            let is_gone = || proc::stat(check.as_ref().unwrap().pid).is_none().then_some(());
            wait::until_some("the wrapper has reaped it", is_gone, || rig.log());
            let_go(&rig);
            let last = crate::support::releases::answers(&rig, &mut client).pop().unwrap();
            assert!(last.starts_with("Reload done"), "{last}");
            asked.told()
        });
        told.ended(Outcome::Failed, "Upgrade failed: --on-canary for worker ");
        assert!(told.end.message.contains(" ended with status unknown"), "{}", told.end.message);
        is_undone(&rig, &master, &old);
    }
}
