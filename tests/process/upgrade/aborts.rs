//! Upgrades that are stopped: by `abort`, by `--upgrade-timeout`, or by another one; whatever has
//! been replaced by then is restored.

use std::fs;
use std::path::PathBuf;

use einhorn::outcome::Outcome;
use einhorn::protocol::ProgressStage;

use crate::support::deploys::{self, deploy, deploy_good, directory, runs};
use crate::support::einhornsh::{Asked, ask, status, tell};
use crate::support::last_line::is_done;
use crate::support::releases::{self, reexec_count, script};
use crate::support::rig::{Master, Rig};
use crate::support::state_dump::{Moment, unharmed, until_moment};
use crate::support::wait;

crate::tests![
    a_preflight_that_is_aborted_changes_nothing,
    a_roll_out_is_stopped_before_anything_was_replaced,
    a_roll_out_is_stopped_with_half_of_the_workers_replaced,
    a_fleet_in_waves_is_stopped_with_half_of_the_workers_replaced,
    an_upgrade_that_another_one_takes_the_place_of_is_told_so,
    without_an_upgrade_there_is_nothing_to_abort,
];

/// How many workers serve.
const WORKERS: usize = 4;

/// How a roll-out is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    Abort,
    /// By a master that has become another image meanwhile.
    ReloadAndAbort,
    Timeout,
}

const STOPS: [Stop; 3] = [Stop::Abort, Stop::ReloadAndAbort, Stop::Timeout];

impl Stop {
    fn now(self, rig: &Rig) {
        if self == Stop::ReloadAndAbort {
            tell(rig, "reload").ended(Outcome::Done, "Reload done");
        }
        match self {
            Stop::Abort | Stop::ReloadAndAbort => {
                tell(rig, "abort").ended(Outcome::Done, "Aborted the roll-out");
            }
            Stop::Timeout => {
                tell(rig, "config '{upgrade_timeout: 0.01}'").ended(Outcome::Done, "Changed ");
            }
        }
    }

    fn outcome(self) -> Outcome {
        match self {
            Stop::Abort | Stop::ReloadAndAbort => Outcome::Aborted,
            Stop::Timeout => Outcome::TimedOut,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Stop::Abort | Stop::ReloadAndAbort => "Upgrade aborted: as commanded; ",
            Stop::Timeout => "Upgrade timed out: the roll-out took longer than 0.01s; ",
        }
    }
}

/// Four workers of release 01, and 02 deployed, whose workers ACK as soon as the folder has a file
/// named after their index.
struct Play<'a> {
    rig: &'a Rig,
    master: Master<'a>,
    up: PathBuf,
    old: Vec<i32>,
}

impl<'a> Play<'a> {
    fn start(rig: &'a Rig, options: &[&str]) -> Play<'a> {
        let up = rig.subfolder("up");
        deploy_good(rig, "01");
        let count = WORKERS.to_string();
        let ours = ["-n", &count, "-m", "manual", "-s", "0.02"];
        let master = deploys::start(rig, "01", &[&ours, options].concat());
        let old = master.settled(WORKERS);
        let gated = format!("until-index={} {}", up.display(), deploys::good("02"));
        deploy(rig, "02", &gated);
        Play { rig, master, up, old }
    }

    /// Lets those be up that wait for it, until so many are and so many others wait.
    fn until_up(&self, up: usize, waiting: usize) {
        self.master.until("so many are up", || {
            let moment = Moment::of(&self.master);
            moment.is_sound();
            let seen = moment.workers.iter().filter(|worker| worker.version == moment.version);
            for worker in seen.filter(|worker| !worker.is_acked).take(up - moment.up().min(up)) {
                fs::write(self.up.join(worker.index.to_string()), "").unwrap();
            }
            (moment.version == 1 && (moment.up(), moment.unacked()) == (up, waiting)).then_some(())
        });
    }

    /// The upgrade is stopped, and who asked is told so; the old generation is what serves.
    fn stopped(&self, stop: Stop, asked: Asked, then: &str) {
        stop.now(self.rig);
        let told = asked.told();
        told.ended(stop.outcome(), stop.words());
        let old = directory(self.rig, "01");
        let then = then.replace("OLD", &format!("generation 0 ({})", old.display()));
        assert!(told.end.message.ends_with(&then), "{}", told.end.message);
        let release = Some(directory(self.rig, "02").display().to_string());
        assert_eq!(told.end.release, release);
        until_moment(&self.master, "the old ones serve alone", |moment| {
            moment.version == 0 && moment.has_converged()
        });
        let (status, is_well) = status(self.rig);
        assert!(is_well && status.in_progress.is_none());
        let old = Some(old.display().to_string());
        for worker in &status.workers {
            assert_eq!((worker.generation, &worker.release), (0, &old), "{worker:?}");
        }
        let last = status.last_upgrade.unwrap();
        assert_eq!((last.outcome, &last.message), (stop.outcome(), &told.end.message));
        let later = tell(self.rig, "wait");
        assert_eq!((later.end.outcome, later.end.release), (stop.outcome(), release));
    }

    fn good_one_follows(&self) {
        runs(&self.master, "01");
        deploy_good(self.rig, "03");
        tell(self.rig, "config '{upgrade_timeout: null}'");
        let told = tell(self.rig, "upgrade");
        told.done();
        assert_eq!(told.end.release, Some(directory(self.rig, "03").display().to_string()));
        self.master.settled(WORKERS);
        runs(&self.master, "03");
    }
}

fn a_preflight_that_is_aborted_changes_nothing() {
    for command in ["upgrade", "upgrade_fleet", "reload"] {
        let rig = Rig::new();
        let text = "#!/bin/sh\n: > \"$TMPDIR/running\"\n\
                    until [ -e \"$TMPDIR/go\" ]; do sleep 0.02; done\nexec EINHORN \"$@\"\n";
        let wrapper = script(&rig, "wrapper", text).display().to_string();
        let play = Play::start(&rig, &["--reexec-as", &wrapper]);
        unharmed(&play.master, || {
            let mut asked = ask(&rig, command);
            let is_running = || rig.path("running").exists().then_some(());
            play.master.until("the preflight runs", is_running);
            assert_eq!(status(&rig).0.in_progress.unwrap().stage, ProgressStage::Preflight);
            assert!(!asked.is_over());
            let aborted = tell(&rig, "abort");
            aborted.ended(Outcome::Done, "Aborted the upgrade before it changed anything");
            let told = asked.told();
            told.ended(Outcome::Aborted, "Upgrade aborted: the master stays what it is");
            tell(&rig, "wait").ended(Outcome::Aborted, "How the last upgrade ended: ");
            // The master and its workers; nothing of the wrapper.
            let look = || (rig.processes().len() == 1 + WORKERS).then_some(());
            wait::until_some("nothing of it is left", look, || format!("{:?}", rig.processes()));
            assert_eq!(play.master.settled(WORKERS), play.old);
            assert_eq!(reexec_count(&rig), 0);
            fs::write(rig.path("go"), "").unwrap();
            play.good_one_follows();
        });
    }
}

fn a_roll_out_is_stopped_before_anything_was_replaced() {
    for (command, waiting) in [("upgrade", 1), ("upgrade_fleet", WORKERS)] {
        for stop in STOPS {
            let rig = Rig::new();
            let play = Play::start(&rig, &[]);
            unharmed(&play.master, || {
                let asked = ask(&rig, command);
                play.until_up(0, waiting);
                play.stopped(stop, asked, "; OLD is still serving");
                assert_eq!(play.master.settled(WORKERS), play.old);
                play.good_one_follows();
            });
        }
    }
}

/// Two are replaced, and so many others wait for their ACK.
fn stopped_half_way(command: &str, waiting: usize, options: &[&str]) {
    for stop in STOPS {
        let rig = Rig::new();
        let play = Play::start(&rig, options);
        unharmed(&play.master, || {
            let asked = ask(&rig, command);
            play.until_up(2, waiting);
            let is_half = |moment: &Moment| moment.workers.len() == WORKERS + waiting;
            until_moment(&play.master, "two old ones are gone", is_half);
            play.stopped(
                stop,
                asked,
                "; OLD is being restored: 2 of its 4 workers were up, and 4 workers were serving",
            );
            // Those that had not gone are the same as before.
            let now = play.master.settled(WORKERS);
            assert_eq!(now.iter().filter(|pid| play.old.contains(pid)).count(), 2, "{now:?}");
            play.good_one_follows();
        });
    }
}

fn a_roll_out_is_stopped_with_half_of_the_workers_replaced() {
    stopped_half_way("upgrade", 1, &["--max-unacked", "1"]);
}

fn a_fleet_in_waves_is_stopped_with_half_of_the_workers_replaced() {
    let options = ["--max-unacked", "2", "--max-upgrade-additional", "2"];
    stopped_half_way("upgrade_fleet", 2, &options);
}

fn an_upgrade_that_another_one_takes_the_place_of_is_told_so() {
    for command in ["upgrade", "upgrade_fleet"] {
        let rig = Rig::new();
        let play = Play::start(&rig, &[]);
        let waiting = if command == "upgrade" { 1 } else { WORKERS };
        unharmed(&play.master, || {
            let first = ask(&rig, command);
            play.until_up(0, waiting);
            // One that knows no events, as the original's.
            let mut plain = releases::ask(&rig, "wait");
            let heard = plain.next_reply().unwrap();
            assert!(heard.wait && heard.message == "Waiting for the upgrade in progress");
            deploy_good(&rig, "03");
            let second = tell(&rig, command);
            let first = first.told();
            first.ended(Outcome::Superseded, "Upgrade superseded: a newer one has begun");
            second.done();
            let release = |release| Some(directory(&rig, release).display().to_string());
            assert_eq!(first.end.release, release("02"));
            assert_eq!(second.end.release, release("03"));
            assert!(is_done(&releases::answers(&rig, &mut plain).pop().unwrap()));
            play.master.settled(WORKERS);
            runs(&play.master, "03");
        });
    }
}

fn without_an_upgrade_there_is_nothing_to_abort() {
    let rig = Rig::new();
    let _master = rig.launch(rig.einhorn(&["sleep", "1000"]));
    tell(&rig, "abort").ended(Outcome::Refused, "There is no upgrade to abort");
    tell(&rig, "wait").ended(Outcome::Done, "There was no upgrade to wait for");
}
