//! `--chdir` with a symbolic link that leads now here and now there: a generation runs the release
//! that its upgrade has reported, all of it, for as long as that is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use einhorn::outcome::Outcome;
use nix::sys::signal::Signal;

use crate::support::background::meanwhile;
use crate::support::deploys::{self, PROGRAM, deploy_good, directory, runs};
use crate::support::einhornsh::{status, tell};
use crate::support::failed_starts::refused;
use crate::support::other_release::install;
use crate::support::releases::script;
use crate::support::rig::{Facts, Master, Rig, send};
use crate::support::state_dump::unharmed;
use crate::support::{proc, wait};

crate::tests![
    whatever_the_link_does_the_release_that_was_reported_serves,
    whatever_the_link_does_a_pinned_wrapper_leads_all_to_one_release,
    a_worker_is_replaced_by_the_release_of_its_generation,
    a_release_that_is_gone_is_replaced_by_what_the_link_means_and_that_is_told,
    a_wrapper_with_a_relative_name_is_the_one_of_the_release,
    a_start_without_a_release_is_refused,
];

/// How many workers serve.
const WORKERS: usize = 3;

/// How long the link leads to one release.
const FLIP_EVERY: Duration = Duration::from_millis(10);

/// How many upgrades there are at least, and at most until each release has had its turn.
const UPGRADES: std::ops::Range<usize> = 6..60;

/// A wrapper that follows the link too.
const WRAPPER: &str = "#!/bin/sh\nset -e\ncd \"${0%/*}/current\"\nexec EINHORN \"$@\"\n";

/// Leads `current` to a release.
fn lead(rig: &Rig, release: &str) {
    install(rig, &Path::new("releases").join(release), "current");
}

/// Does something while the link leads a hundred times a second elsewhere.
fn while_it_flips(rig: &Rig, master: &Master<'_>, work: impl FnOnce()) {
    struct End<'a>(&'a AtomicBool);
    impl Drop for End<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let is_over = AtomicBool::new(false);
    meanwhile(master, |scope| {
        let _end = End(&is_over);
        scope.spawn(|| {
            let mut due = Instant::now();
            let mut releases = ["01", "02"].into_iter().cycle();
            while !is_over.load(Ordering::Relaxed) {
                lead(rig, releases.next().unwrap());
                due += FLIP_EVERY;
                wait::moment(due);
            }
        });
        work();
    });
}

/// Upgrades again and again while the link flips, until both releases have had their turn;
/// `serving` says which one serves now by what the upgrade has reported.
fn flipping(
    rig: &Rig,
    master: &Master<'_>,
    serving: impl Fn(&Master<'_>, Option<String>) -> PathBuf,
) {
    let mut served = BTreeSet::new();
    while_it_flips(rig, master, || {
        for (count, kind) in ["upgrade", "upgrade_fleet"].into_iter().cycle().enumerate() {
            if count >= UPGRADES.start && served.len() == 2 {
                return;
            }
            assert!(count < UPGRADES.end, "{served:?}");
            let told = unharmed(master, || {
                let told = tell(rig, kind);
                told.done();
                master.settled(WORKERS);
                told
            });
            let release = serving(master, told.end.release);
            is_all_of(master, &release);
            // One that dies is replaced by the same, wherever the link leads.
            let lost = master.settled(WORKERS)[0];
            master.replaced(&[lost], WORKERS);
            is_all_of(master, &release);
            served.insert(release);
        }
    });
}

/// Every worker runs in the directory of this release, and answers with its name.
fn is_all_of(master: &Master<'_>, release: &Path) {
    for pid in master.settled(WORKERS) {
        assert_eq!(proc::directory(pid), release);
    }
    runs(master, release.file_name().unwrap().to_str().unwrap());
}

fn whatever_the_link_does_the_release_that_was_reported_serves() {
    // A wrapper that follows the link at another moment changes nothing.
    for options in [&[][..], &["--reexec-as"], &["--reexec-mode=pinned", "--reexec-as"]] {
        let rig = Rig::new();
        ["01", "02"].into_iter().for_each(|release| deploy_good(&rig, release));
        let wrapper = script(&rig, "wrapper", WRAPPER).display().to_string();
        let mut options = [&["-n", "3", "-m", "manual"], options].concat();
        if options.last() == Some(&"--reexec-as") {
            options.push(&wrapper);
        }
        let master = deploys::start(&rig, "02", &options);
        flipping(&rig, &master, |_, reported| {
            let release = reported.unwrap();
            let (seen, is_well) = status(&rig);
            assert!(is_well && seen.notes.is_empty(), "{:?}", seen.notes);
            assert!(seen.workers.iter().all(|worker| worker.release.as_ref() == Some(&release)));
            release.into()
        });
        assert!(!rig.log().contains("is gone"), "{}", rig.log());
    }
}

fn whatever_the_link_does_a_pinned_wrapper_leads_all_to_one_release() {
    let rig = Rig::new();
    ["01", "02"].into_iter().for_each(|release| deploy_good(&rig, release));
    let wrapper = script(&rig, "wrapper", WRAPPER).display().to_string();
    let options = ["-b", "127.0.0.1:0,n", "-l", "1024", "-n", "3", "-m", "manual"];
    let pinned = ["--reexec-mode=pinned", "--reexec-as", &wrapper, PROGRAM];
    let mut command = rig.shell("cd current && exec \"$@\"", &[&options[..], &pinned].concat());
    command.env("TEST_PROGRAM", std::env::current_exe().unwrap());
    let master = rig.launch(command);
    master.settled(WORKERS);
    // Where the candidate was is where the master is, and everybody whom it starts.
    flipping(&rig, &master, |master, _| proc::directory(master.pid()));
}

fn a_worker_is_replaced_by_the_release_of_its_generation() {
    let rig = Rig::new();
    deploy_good(&rig, "01");
    let master = deploys::start(&rig, "01", &["-n", "3", "-m", "manual"]);
    deploy_good(&rig, "02");
    let lose_one = || {
        let lost = master.settled(WORKERS)[0];
        master.replaced(&[lost], WORKERS);
    };
    lose_one();
    is_all_of(&master, &directory(&rig, "01"));
    // A reload takes no code anew, and more workers are of the code that serves too.
    tell(&rig, "reload").ended(Outcome::Done, "Reload done");
    lose_one();
    is_all_of(&master, &directory(&rig, "01"));
    tell(&rig, "set_workers 4 --wait").ended(Outcome::Done, "4 workers are up");
    assert!(master.settled(4).iter().all(|pid| proc::directory(*pid) == directory(&rig, "01")));
    tell(&rig, "set_workers 3 --wait").ended(Outcome::Done, "3 workers are up");
    is_all_of(&master, &directory(&rig, "01"));
    let told = tell(&rig, "upgrade");
    told.done();
    assert_eq!(told.end.release, Some(directory(&rig, "02").display().to_string()));
    is_all_of(&master, &directory(&rig, "02"));
    assert!(!rig.log().contains("is gone"), "{}", rig.log());
}

fn a_release_that_is_gone_is_replaced_by_what_the_link_means_and_that_is_told() {
    let rig = Rig::new();
    deploy_good(&rig, "01");
    let master = deploys::start(&rig, "01", &["-n", "3", "-m", "manual", "-s", "0.02"]);
    deploy_good(&rig, "02");
    let [old, new] = ["01", "02"].map(|release| directory(&rig, release));
    fs::remove_dir_all(&old).unwrap();
    let workers = master.settled(WORKERS);
    let now = master.replaced(&workers[..1], WORKERS);
    let stray = *now.iter().find(|pid| !workers.contains(pid)).unwrap();
    assert_eq!(proc::directory(stray), new);
    let told = format!(
        "ERROR: Worker {stray} of generation 0 runs in {}: {} is gone",
        new.display(),
        old.display()
    );
    master.until_logged(&told);
    let (seen, is_well) = status(&rig);
    let note = format!("workers that run in another release because {} is gone: 1", old.display());
    let leads =
        "the release of generation 0 is gone: new workers start in the current --chdir directory";
    assert!(is_well && seen.notes == [note.as_str(), leads], "{:?}", seen.notes);
    let of_it = seen.workers.iter().find(|worker| worker.pid == stray).unwrap();
    assert_eq!((of_it.generation, &of_it.release), (0, &Some(new.display().to_string())));
    // Nor is anything where the link leads: the others serve, and a deploy mends it.
    fs::remove_dir_all(&new).unwrap();
    let Facts { pid, index, .. } = master.workers().swap_remove(1);
    send(pid, Signal::SIGKILL);
    let current = rig.path("current");
    let why = format!("--chdir: there is no release directory {}: No such", current.display());
    master.until_logged(&format!("Could not start a worker (slot {index}): {why}"));
    let (seen, is_well) = status(&rig);
    assert!(!is_well && seen.reasons[0] == "2 of 3 workers are up", "{:?}", seen.reasons);
    deploy_good(&rig, "03");
    master.settled(WORKERS);
    tell(&rig, "upgrade").done();
    is_all_of(&master, &directory(&rig, "03"));
    assert!(status(&rig).0.notes.is_empty());
}

fn a_wrapper_with_a_relative_name_is_the_one_of_the_release() {
    for mode in ["--reexec-mode=exec", "--reexec-mode=pinned"] {
        let rig = Rig::new();
        deploy_good(&rig, "01");
        let options = ["-n", "3", "-m", "manual", "--reexec-as", "bin/reexec", mode];
        let master = deploys::start(&rig, "01", &options);
        deploy_good(&rig, "02");
        let wrapper = directory(&rig, "02").join("bin/reexec");
        let missing = format!("Not upgrading: cannot execute {}: No such file", wrapper.display());
        let told = tell(&rig, "upgrade");
        told.ended(Outcome::Refused, &missing);
        assert!(!told.end.message.contains("interpreter"), "{}", told.end.message);
        script(&rig, "releases/02/bin/reexec", "#!/bin/sh\n: > ran\nexec EINHORN \"$@\"\n");
        tell(&rig, "upgrade").done();
        assert!(rig.path("releases/02/ran").exists());
        is_all_of(&master, &directory(&rig, "02"));
        let check = ["--upgrade-check", "--chdir", "current", "--reexec-as", "bin/reexec", PROGRAM];
        let said = rig.einhorn(&check).output().unwrap();
        let said = String::from_utf8(said.stdout).unwrap();
        assert!(said.contains(&format!("re-exec command: {}\n", wrapper.display())), "{said}");
    }
}

fn a_start_without_a_release_is_refused() {
    let rig = Rig::new();
    let here = rig.path("").display().to_string();
    let missing = format!("--chdir: there is no release directory {here}current: No such file");
    let refuse = |why: &str| {
        let command = rig.einhorn(&["-b", "127.0.0.1:0", "--chdir", "current", PROGRAM]);
        refused(&rig, command).assert_says(1, &[why]);
    };
    refuse(&missing);
    install(&rig, Path::new("releases/01"), "current");
    refuse(&missing);
    fs::create_dir_all(rig.path("releases/01/bin")).unwrap();
    let program = directory(&rig, "01").join(PROGRAM);
    refuse(&format!("cannot execute {}: No such file", program.display()));
    fs::write(&program, "").unwrap();
    refuse(&format!("cannot execute {}: permission denied: it is not", program.display()));
    install(&rig, Path::new("releases/01/bin/server"), "current");
    refuse("--chdir: ");
}
