//! Releases that are bad, each in its own way: whatever they do, nobody who is served by the old
//! one feels it, who asked for the upgrade is told why it failed, and a good one can follow.
//!
//! Each is tried as a smooth and as a fleet upgrade, with ACKs by timer and by the workers, where
//! it can be told apart.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use einhorn::outcome::Outcome;
use einhorn::protocol::{End, Numbers, WorkerFailure};
use einhorn::status::{Status, UpgradeCommand};

use crate::shell::sessions::run;
use crate::support::deploys::{self, PROGRAM, deploy, directory, runs};
use crate::support::einhornsh::{Told, status, tell};
use crate::support::releases::{place, script};
use crate::support::rig::{Master, Rig};
use crate::support::state_dump::unharmed;

crate::tests![
    one_that_exits_at_once,
    one_that_exits_just_before_the_timer_acks_it,
    one_that_never_acks,
    one_that_acks_and_then_crashes,
    one_that_cannot_be_executed,
    one_of_a_wrong_architecture,
    one_whose_directory_is_gone,
    one_whose_directory_goes_between_preflight_and_start,
    one_that_acks_twice_is_good,
    one_that_is_acked_by_a_grandchild,
    one_that_eats_memory,
];

/// How many workers serve.
const WORKERS: usize = 3;

/// What the master is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Smooth,
    Fleet,
}

use Kind::{Fleet, Smooth};

impl Kind {
    fn command(self) -> &'static str {
        match self {
            Smooth => "upgrade",
            Fleet => "upgrade_fleet",
        }
    }

    fn asked(self) -> UpgradeCommand {
        match self {
            Smooth => UpgradeCommand::Upgrade,
            Fleet => UpgradeCommand::UpgradeFleet,
        }
    }
}

/// Who says that a worker is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Acks {
    Timer,
    Manual,
}

use Acks::{Manual, Timer};

impl Acks {
    /// The option at the start, so short that good workers are up soon.
    fn option(self) -> &'static str {
        match self {
            Timer => "0.1",
            Manual => "manual",
        }
    }

    fn good(self, release: &str) -> String {
        match self {
            Timer => format!("hold-usr2 drain={release}"),
            Manual => deploys::good(release),
        }
    }
}

const ALL: &[(Kind, Acks)] = &[(Smooth, Timer), (Smooth, Manual), (Fleet, Timer), (Fleet, Manual)];
const MANUAL: &[(Kind, Acks)] = &[(Smooth, Manual), (Fleet, Manual)];

/// A release that is bad.
#[derive(Clone, Copy)]
struct Bad {
    /// What its workers do.
    steps: &'static str,
    /// What is done to it before the upgrade.
    spoil: fn(&Rig),
    /// What the master is told by `config` before the upgrade, for the time that it takes.
    config: &'static str,
    /// What the master is started with. `HERE` is the rig's folder, here and below.
    options: &'static [&'static str],
    outcome: Outcome,
    /// How the last line begins.
    begins: &'static str,
    /// What each failure is told to be.
    what: &'static str,
    failures: usize,
}

/// One whose workers start and fail.
const FAILING: Bad = Bad {
    steps: "",
    spoil: |_| (),
    config: "{}",
    options: &[],
    outcome: Outcome::Failed,
    begins: "Upgrade failed: 3 new workers failed; ",
    what: "",
    failures: 3,
};

impl Bad {
    /// Tries it in each of these ways.
    fn in_each(self, ways: &[(Kind, Acks)]) {
        for (kind, acks) in ways {
            self.tried(*kind, *acks);
        }
    }

    fn tried(self, kind: Kind, acks: Acks) {
        let rig = Rig::new();
        deploy(&rig, "01", &acks.good("01"));
        let count = WORKERS.to_string();
        // A fleet starts all at once; none follows while some of them still end.
        let back_off = if kind == Smooth { "0.02" } else { "1000" };
        let options = ["-n", &count, "-s", back_off, "-m", acks.option()];
        let more = self.options.iter().map(|word| word.replace("HERE", &here(&rig)));
        let more: Vec<String> = more.collect();
        let options: Vec<&str> =
            options.into_iter().chain(more.iter().map(String::as_str)).collect();
        let master = deploys::start(&rig, "01", &options);
        let old = master.settled(WORKERS);
        let told = unharmed(&master, || {
            deploy(&rig, "02", self.steps);
            (self.spoil)(&rig);
            if acks == Timer {
                // What ends at once has ended before, on the slowest machine.
                master.say("config", &["{ack_mode: 5}"]);
            }
            master.say("config", &[self.config]);
            let told = tell(&rig, kind.command());
            assert_eq!(master.settled(WORKERS), old, "{}", rig.log());
            told
        });
        self.is_told(&rig, &told.end);
        self.is_told_afterwards(&rig, kind, &told.end);
        runs(&master, "01");
        self.good_one_follows(&rig, &master, kind, acks);
    }

    /// The outcome, the message and each failure are as documented.
    fn is_told(self, rig: &Rig, end: &End) {
        let here = here(rig);
        let begins = self.begins.replace("HERE", &here);
        assert!(end.message.starts_with(&begins), "{end:?}");
        assert_eq!(end.outcome, self.outcome, "{end:?}");
        let Numbers { generation, acked, target, old_left, failed, .. } = end.numbers;
        let numbers = [generation, acked, target, old_left, failed];
        if self.outcome == Outcome::Refused {
            assert_eq!((numbers, &end.release), ([0, 3, 3, 0, 0], &None), "{end:?}");
        } else {
            let failed = u32::try_from(self.failures).unwrap();
            assert_eq!(numbers, [1, 0, 3, 3, failed], "{end:?}");
            let release = directory(rig, "02").display().to_string();
            assert_eq!(end.release, Some(release), "{end:?}");
            let old = directory(rig, "01");
            let then = format!("; generation 0 ({}) is still serving", old.display());
            assert!(end.message.ends_with(&then), "{end:?}");
        }
        assert_eq!(end.failures.len(), self.failures, "{end:?}");
        for WorkerFailure { pid, slot, what, age_ms, .. } in &end.failures {
            assert_eq!(*what, self.what.replace("HERE", &here), "{end:?}");
            assert_eq!(pid.is_some(), !what.starts_with("could not be started"), "{end:?}");
            assert!(*slot >= 3 && *age_ms < 10_000, "{end:?}");
        }
    }

    /// Whoever comes later is told the same.
    fn is_told_afterwards(self, rig: &Rig, kind: Kind, end: &End) {
        let Told { end: later, .. } = tell(rig, "wait");
        let message = format!("How the last upgrade ended: {}", end.message);
        assert_eq!((later.outcome, later.message), (end.outcome, message));
        assert_eq!((&later.failures, &later.release), (&end.failures, &end.release));
        let (Status { last_upgrade, workers, in_progress, master, .. }, is_well) = status(rig);
        assert!(is_well && in_progress.is_none());
        assert_eq!((master.generation, master.acked, master.early_deaths), (0, 3, 0));
        let last = last_upgrade.unwrap();
        assert_eq!((last.command, last.outcome), (kind.asked(), end.outcome));
        assert_eq!((&last.message, &last.failures), (&end.message, &end.failures));
        assert_eq!(last.release, end.release);
        let release = directory(rig, "01").display().to_string();
        for worker in &workers {
            assert_eq!((worker.generation, worker.restarts), (0, 0), "{worker:?}");
            assert_eq!(worker.release.as_ref(), Some(&release));
        }
        assert_eq!(workers.len(), WORKERS);
        let (_, table, _) = run(rig, &["-e", "status"]);
        assert!(table.contains(&end.message), "{table}");
    }

    fn good_one_follows(self, rig: &Rig, master: &Master<'_>, kind: Kind, acks: Acks) {
        let told = unharmed(master, || {
            deploy(rig, "03", &acks.good("03"));
            if acks == Timer {
                master.say("config", &["{ack_mode: 0.1}"]);
            }
            master.say("config", &["{canary_seconds: 0, upgrade_max_failures: null}"]);
            let told = tell(rig, kind.command());
            master.settled(WORKERS);
            told
        });
        told.done();
        let release = directory(rig, "03").display().to_string();
        assert_eq!(told.end.release, Some(release));
        runs(master, "03");
        let (Status { last_upgrade, .. }, is_well) = status(rig);
        assert!(is_well);
        assert_eq!(last_upgrade.unwrap().outcome, Outcome::Done);
    }
}

/// The rig's folder, as the master tells it.
fn here(rig: &Rig) -> String {
    fs::canonicalize(rig.path("")).unwrap().display().to_string()
}

fn one_that_exits_at_once() {
    Bad { steps: "exit=3", what: "exit status 3", ..FAILING }.in_each(ALL);
}

fn one_that_exits_just_before_the_timer_acks_it() {
    // As short before as a busy machine is punctual.
    let one = Bad { steps: "until-old=3000 exit=3", what: "exit status 3", ..FAILING };
    Bad { config: "{ack_mode: 4.5}", ..one }.in_each(&[(Fleet, Timer)]);
    // Once is enough where one comes after the other.
    let config = "{ack_mode: 4.5, upgrade_max_failures: 1}";
    let begins = "Upgrade failed: 1 new worker failed; ";
    Bad { config, begins, failures: 1, ..one }.in_each(&[(Smooth, Timer)]);
}

fn one_that_never_acks() {
    let one = Bad { config: "{ack_timeout: 0.3}", what: "no ACK within 0.3s", ..FAILING };
    Bad { steps: "wait", ..one }.in_each(MANUAL);
    let config = "{ack_timeout: 0.3, signal_timeout: 0.2}";
    Bad { steps: "ignore=SIGUSR2 wait", config, ..one }.in_each(MANUAL);
}

fn one_that_acks_and_then_crashes() {
    let what = "exit status 7 after its ACK";
    let one = Bad { what, config: "{canary_seconds: 30}", ..FAILING };
    Bad { steps: "ack until-acked exit=7", ..one }.in_each(&[(Smooth, Manual)]);
    let config = "{ack_mode: 0.1, canary_seconds: 30}";
    Bad { steps: "until-acked exit=7", config, ..one }.in_each(&[(Smooth, Timer)]);
    // The replacement of the first must not be up when the last one crashes.
    let config = "{ack_mode: 1, canary_seconds: 30}";
    Bad { steps: "until-acked exit=7", config, ..one }.in_each(&[(Fleet, Timer)]);
    // As long as not all of them are up, none of the old ones has gone.
    let spoil = |rig: &Rig| {
        let folder = rig.subfolder("up");
        fs::write(folder.join("3"), "").unwrap();
    };
    let steps = "until-index=../../up ack until-acked exit=7";
    // The others wait for their ACK meanwhile, which must not keep it from being replaced.
    let config = "{max_unacked: 3}";
    Bad { steps, what, spoil, config, ..FAILING }.in_each(&[(Fleet, Manual)]);
}

fn one_that_cannot_be_executed() {
    let spoil = |rig: &Rig| {
        let program = directory(rig, "02").join(PROGRAM);
        fs::set_permissions(program, fs::Permissions::from_mode(0o644)).unwrap();
    };
    let begins = "Not upgrading: cannot execute HERE/releases/02/bin/server: permission denied: \
                  it is not executable (chmod +x)";
    let refused = Bad { outcome: Outcome::Refused, failures: 0, begins, ..FAILING };
    Bad { steps: "exit=3", spoil, ..refused }.in_each(ALL);
}

fn one_of_a_wrong_architecture() {
    let spoil = |rig: &Rig| {
        // The head of an ELF file for a machine that nobody has built.
        let mut bytes = fs::read("/proc/self/exe").unwrap();
        bytes.truncate(4096);
        bytes[18..20].copy_from_slice(&[0xEE, 0xEE]);
        fs::write(rig.path("elf"), bytes).unwrap();
        place(rig, &rig.path("elf"), "releases/02/bin/server");
    };
    let what = "could not be started: cannot execute HERE/releases/02/bin/server: Exec format \
                error (os error 8): it is neither a program for this machine nor a script with a \
                #! line";
    Bad { spoil, what, ..FAILING }.in_each(ALL);
}

fn one_whose_directory_is_gone() {
    let spoil = |rig: &Rig| fs::remove_dir_all(directory(rig, "02")).unwrap();
    let begins = "Not upgrading: --chdir: there is no release directory HERE/current: No such file";
    let refused = Bad { outcome: Outcome::Refused, failures: 0, begins, ..FAILING };
    Bad { steps: "exit=3", spoil, ..refused }.in_each(ALL);
}

fn one_whose_directory_goes_between_preflight_and_start() {
    let spoil = |rig: &Rig| {
        // What runs in the master's place comes after the preflight and before all workers. The
        // link leads to another release then, which is not what was asked for.
        let wrapper = "#!/bin/sh\n\
                       if [ \"$1\" != --upgrade-check ]; then cd \"${0%/*}\"\n\
                       rm -r releases/02; ln -sfn releases/01 current; fi\n\
                       exec EINHORN \"$@\"\n";
        script(rig, "wrapper", wrapper);
    };
    let what = "could not be started: --chdir: the release directory HERE/releases/02 is gone";
    let options = &["--reexec-as", "HERE/wrapper"];
    Bad { spoil, what, options, ..FAILING }.in_each(ALL);
}

fn one_that_acks_twice_is_good() {
    for (kind, acks) in ALL {
        let (told, times) = match acks {
            Timer => ("Ignoring an ACK for PID: ACKs are given by timer", 2),
            Manual => ("Ignoring an ACK for PID, which was ACKed before", 1),
        };
        is_good("hold-usr2 ack ack drain=02", *kind, *acks, (told, times));
    }
}

/// An upgrade to it succeeds, and the log says this of each of its workers, so many times.
fn is_good(steps: &str, kind: Kind, acks: Acks, (told, times): (&str, usize)) {
    let rig = Rig::new();
    deploy(&rig, "01", &acks.good("01"));
    let master = deploys::start(&rig, "01", &["-n", "3", "-m", acks.option()]);
    let asked = unharmed(&master, || {
        deploy(&rig, "02", steps);
        let asked = tell(&rig, kind.command());
        master.settled(WORKERS);
        asked
    });
    asked.done();
    assert_eq!(asked.end.release, Some(directory(&rig, "02").display().to_string()));
    runs(&master, "02");
    for pid in master.settled(WORKERS) {
        let told = told.replace("PID", &pid.to_string());
        master.until_logged_times(times, &told);
    }
}

fn one_that_is_acked_by_a_grandchild() {
    // The contract: the line has the pid of the worker or of a process in its group, whoever sends
    // it.
    for kind in [Smooth, Fleet] {
        is_good("hold-usr2 child=ack-parent drain=02", kind, Manual, ("Launched PID", 1));
        is_good("hold-usr2 child=ack-heard drain=02", kind, Manual, ("Launched PID", 1));
    }
    let what = "no ACK within 0.5s";
    let config = "{ack_timeout: 0.5}";
    Bad { steps: "child-apart=ack-heard wait", what, config, ..FAILING }.in_each(MANUAL);
}

fn one_that_eats_memory() {
    Bad { steps: "eat=32", what: "killed by SIGKILL", ..FAILING }.in_each(ALL);
}
