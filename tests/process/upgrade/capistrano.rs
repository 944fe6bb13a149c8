//! Deploys as Capistrano makes them: releases side by side, a symlink to the newest, two kept.

use std::fs;
use std::path::Path;

use einhorn::outcome::Outcome;
use nix::sys::signal::Signal;

use crate::support::deploys::{PROGRAM, deploy, deploy_good, directory, runs};
use crate::support::einhornsh::tell;
use crate::support::load::{port, under_load};
use crate::support::other_release::install;
use crate::support::proc;
use crate::support::releases::{THIS, script};
use crate::support::rig::{Master, Rig, names, send};

crate::tests![
    ten_deploys_through_the_wrapper_of_the_documents,
    ten_deploys_through_the_pinned_wrapper_of_the_documents,
    ten_deploys_with_the_directory_of_the_release,
    ten_deploys_of_a_program_that_is_named_through_the_symlink,
];

/// How many workers serve.
const WORKERS: usize = 4;

/// A master that was started in the first release.
fn start<'a>(rig: &'a Rig, options: &[&str], program: &str) -> Master<'a> {
    rig.subfolder("bin");
    install(rig, Path::new(THIS), "bin/einhorn");
    deploy_good(rig, "01");
    let path = std::env::var("PATH").unwrap();
    let mut command = rig.command("sh");
    command.args(["-c", "cd current && exec einhorn \"$@\"", "sh", "-m", "manual", "-s", "0.02"]);
    command.args(["-n", &WORKERS.to_string(), "-b", "127.0.0.1:0,n", "-l", "1024"]);
    command.args(options).arg(program);
    command.env("PATH", format!("{}:{path}", rig.path("bin").display()));
    command.env("TEST_PROGRAM", std::env::current_exe().unwrap());
    let master = rig.launch(command);
    master.settled(WORKERS);
    runs(&master, "01");
    master
}

/// A worker dies: the one in its place runs the code of the others.
fn lose_a_worker(master: &Master<'_>, release: &str) {
    let workers = master.settled(WORKERS);
    send(workers[0], Signal::SIGKILL);
    master.until_logged(&format!("Exited worker {}", workers[0]));
    master.settled(WORKERS);
    runs(master, release);
}

/// Deploys a release and upgrades to it. Answers what the upgrade reports as that.
fn upgrade(rig: &Rig, master: &Master<'_>, release: &str) -> Option<String> {
    deploy_good(rig, release);
    let told = under_load_of(master, || {
        let told = tell(rig, "upgrade");
        told.done();
        master.settled(WORKERS);
        told
    });
    runs(master, release);
    lose_a_worker(master, release);
    told.end.release
}

/// A release whose workers die at once: the upgrade ends as failed and the old ones serve on.
fn break_it(rig: &Rig, master: &Master<'_>, [old, broken]: [&str; 2]) {
    let workers = master.settled(WORKERS);
    deploy(rig, broken, "exit=3");
    let told = under_load_of(master, || tell(rig, "upgrade"));
    told.ended(Outcome::Failed, "Upgrade failed: 3 new workers failed; generation ");
    assert!(told.end.message.ends_with(" is still serving"), "{}", told.end.message);
    assert!(told.end.failures.iter().all(|failure| failure.what == "exit status 3"));
    assert_eq!((master.settled(WORKERS), deaths(rig)), (workers, 3));
    runs(master, old);
}

fn deaths(rig: &Rig) -> usize {
    rig.log().matches("before it was ACKed: exit status 3").count()
}

/// The same, and a next deploy that mends it, whatever happens to the old ones meanwhile.
fn break_and_mend(rig: &Rig, master: &Master<'_>, [old, broken, mended]: [&str; 3]) {
    break_it(rig, master, [old, broken]);
    // Without `--chdir` what is started in their place is what the program's name means by now.
    let lost = master.settled(WORKERS)[0];
    send(lost, Signal::SIGKILL);
    master.until_logged(&format!("Exited worker {lost}"));
    master.until("the broken ones die on", || (deaths(rig) >= 6).then_some(()));
    runs(master, old);
    upgrade(rig, master, mended);
}

fn under_load_of<T>(master: &Master<'_>, work: impl FnOnce() -> T) -> T {
    let mut result = None;
    under_load(port(master), 2, |_| result = Some(work()));
    result.unwrap()
}

fn ten_deploys_through_the_wrapper_of_the_documents() {
    ten_deploys_through_the_wrapper(&[]);
}

fn ten_deploys_through_the_pinned_wrapper_of_the_documents() {
    ten_deploys_through_the_wrapper(&["--reexec-mode=pinned"]);
}

fn ten_deploys_through_the_wrapper(options: &[&str]) {
    let rig = Rig::new();
    let root = rig.path("").display().to_string();
    let text = wrapper().replace("/srv/web/", &root);
    let wrapper = script(&rig, "reexec", &text).display().to_string();
    let master = start(&rig, &[&["--reexec-as", &wrapper], options].concat(), PROGRAM);
    for release in ["02", "03", "04"] {
        upgrade(&rig, &master, release);
    }
    assert_eq!(names(&rig.path("releases")), ["03", "04"]);
    // A deploy that left nothing to run: refused, and nothing has changed.
    let workers = master.settled(WORKERS);
    install(&rig, Path::new("releases/05"), "current");
    let told = under_load_of(&master, || tell(&rig, "upgrade"));
    told.ended(Outcome::Refused, "Not upgrading");
    let message = &told.end.message;
    assert!(message.contains("last output") && message.contains("current"), "{message}");
    assert_eq!(master.settled(WORKERS), workers);
    lose_a_worker(&master, "04");
    upgrade(&rig, &master, "06");
    break_and_mend(&rig, &master, ["06", "07", "08"]);
    for release in ["09", "10"] {
        upgrade(&rig, &master, release);
    }
    assert_eq!(names(&rig.path("releases")), ["09", "10"]);
    assert_eq!(proc::directory(master.pid()), directory(&rig, "10"));
}

/// As docs/operating.md recommends it: neither a wrapper nor a program that is named through the
/// symlink.
fn ten_deploys_with_the_directory_of_the_release() {
    let rig = Rig::new();
    let current = rig.path("current").display().to_string();
    let master = start(&rig, &["--chdir", &current], PROGRAM);
    let deployed = |release: &str| {
        let reported = upgrade(&rig, &master, release);
        let directory = directory(&rig, release);
        assert_eq!(reported, Some(directory.display().to_string()));
        let workers = master.settled(WORKERS);
        assert!(workers.iter().all(|pid| proc::directory(*pid) == directory));
        assert_eq!(proc::directory(master.pid()), directory);
    };
    ["02", "03", "04"].into_iter().for_each(deployed);
    assert_eq!(names(&rig.path("releases")), ["03", "04"]);
    let workers = master.settled(WORKERS);
    install(&rig, Path::new("releases/05"), "current");
    let told = under_load_of(&master, || tell(&rig, "upgrade"));
    let why = format!("Not upgrading: --chdir: there is no release directory {current}: ");
    told.ended(Outcome::Refused, &why);
    assert_eq!(master.settled(WORKERS), workers);
    lose_a_worker(&master, "04");
    deployed("06");
    break_it(&rig, &master, ["06", "07"]);
    // What is started in place of an old one is its own code, and the broken one has no part in it.
    lose_a_worker(&master, "06");
    assert_eq!(deaths(&rig), 3);
    ["08", "09", "10"].into_iter().for_each(deployed);
    assert_eq!(names(&rig.path("releases")), ["09", "10"]);
    assert!(!rig.log().contains("is gone"), "{}", rig.log());
}

fn ten_deploys_of_a_program_that_is_named_through_the_symlink() {
    let rig = Rig::new();
    let program = rig.path("current/bin/server").display().to_string();
    let master = start(&rig, &[], &program);
    for release in ["02", "03", "04", "05"] {
        upgrade(&rig, &master, release);
    }
    // The directory that the master was started in is gone.
    let link = proc::directory(master.pid());
    assert!(link.to_string_lossy().ends_with("releases/01 (deleted)"), "{}", link.display());
    break_and_mend(&rig, &master, ["05", "06", "07"]);
    for release in ["08", "09", "10"] {
        upgrade(&rig, &master, release);
    }
}

/// The wrapper script as docs/operating.md has it.
fn wrapper() -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operating.md");
    let text = fs::read_to_string(page).unwrap();
    let scripts = text.split("```sh\n").skip(1).filter_map(|rest| rest.split_once("```"));
    let mut wrappers =
        scripts.map(|(script, _)| script).filter(|script| script.contains("# /srv/web/reexec:"));
    let wrapper = wrappers.next().unwrap().to_owned();
    assert!(wrappers.next().is_none(), "two wrappers");
    assert!(wrapper.contains("/srv/web/current"), "{wrapper}");
    wrapper
}
