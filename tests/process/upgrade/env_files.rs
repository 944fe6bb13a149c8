//! `--env-file`: read again by every upgrade and reload, and kept by a generation until then.

use std::fs;

use einhorn::outcome::Outcome;

use crate::support::deploys::{self, PROGRAM, deploy, deploy_good, runs};
use crate::support::einhornsh::tell;
use crate::support::failed_starts::refused;
use crate::support::proc;
use crate::support::rig::{Master, Rig};
use crate::support::state_dump::unharmed;

crate::tests![
    a_generation_keeps_its_variables_until_the_next_upgrade,
    a_reload_takes_the_variables_anew,
    a_failed_upgrade_leaves_the_variables_as_they_were,
    a_bad_file_is_refused_with_file_and_line_and_nothing_changes,
    a_start_with_a_bad_file_is_refused,
];

/// How many workers serve.
const WORKERS: usize = 3;

/// Writes the file; what is read is one version or the other.
fn write(rig: &Rig, text: &str) {
    fs::write(rig.path("env.draft"), text).unwrap();
    fs::rename(rig.path("env.draft"), rig.path("env")).unwrap();
}

/// Workers of release 01 with a file of variables.
fn start<'a>(rig: &'a Rig, text: &str) -> Master<'a> {
    write(rig, text);
    deploy_good(rig, "01");
    deploys::start(rig, "01", &["-n", "3", "-m", "manual", "-s", "0.02", "--env-file", "env"])
}

/// What a worker was given under this name.
fn given(pid: i32, name: &str) -> Option<String> {
    let variables = proc::environment(pid);
    let mut found = variables.iter().filter_map(|entry| {
        entry.to_str()?.strip_prefix(name)?.strip_prefix('=').map(str::to_owned)
    });
    let value = found.next();
    assert_eq!(found.next(), None, "{name} is there twice");
    value
}

/// What every worker was given under this name.
fn all_given(master: &Master<'_>, name: &str, value: Option<&str>) {
    for pid in master.settled(WORKERS) {
        assert_eq!(given(pid, name).as_deref(), value, "{name}");
    }
}

/// Loses a worker; the one in its place was given this, and nobody else was touched.
fn replaced_with(master: &Master<'_>, value: &str) {
    let before = master.settled(WORKERS);
    let after = master.replaced(&before[..1], WORKERS);
    let new: Vec<&i32> = after.iter().filter(|pid| !before.contains(pid)).collect();
    assert_eq!(new.len(), 1);
    assert_eq!(given(*new[0], "VALUE").as_deref(), Some(value));
}

fn a_generation_keeps_its_variables_until_the_next_upgrade() {
    let rig = Rig::new();
    let text = "# of the first\nVALUE=1\nexport QUOTED='a b' # c\nGONE=soon\nHOME=/nowhere\n";
    let master = start(&rig, text);
    all_given(&master, "VALUE", Some("1"));
    all_given(&master, "QUOTED", Some("a b"));
    all_given(&master, "HOME", Some("/nowhere"));
    write(&rig, "VALUE=2\nVALUE=3\n");
    replaced_with(&master, "1");
    for (value, kind) in [("3", "upgrade"), ("4", "upgrade_fleet")] {
        unharmed(&master, || {
            tell(&rig, kind).done();
            master.settled(WORKERS);
        });
        all_given(&master, "VALUE", Some(value));
        all_given(&master, "GONE", None);
        // What the master was started with is what is left of it.
        assert_ne!(given(master.settled(WORKERS)[0], "HOME").as_deref(), Some("/nowhere"));
        write(&rig, "VALUE=4\n");
        replaced_with(&master, value);
    }
    assert_eq!(given(master.pid(), "VALUE"), None);
}

fn a_reload_takes_the_variables_anew() {
    let rig = Rig::new();
    let master = start(&rig, "VALUE=1\n");
    let before = master.settled(WORKERS);
    write(&rig, "VALUE=2\n");
    tell(&rig, "reload").ended(Outcome::Done, "Reload done");
    assert_eq!(master.settled(WORKERS), before);
    all_given(&master, "VALUE", Some("1"));
    replaced_with(&master, "2");
}

fn a_failed_upgrade_leaves_the_variables_as_they_were() {
    let rig = Rig::new();
    let master = start(&rig, "VALUE=1\n");
    let before = master.settled(WORKERS);
    unharmed(&master, || {
        write(&rig, "VALUE=2\n");
        deploy(&rig, "02", "exit=3");
        tell(&rig, "upgrade").ended(Outcome::Failed, "Upgrade failed: 3 new workers failed");
        assert_eq!(master.settled(WORKERS), before);
    });
    replaced_with(&master, "1");
    runs(&master, "01");
    // In a preflight that is refused they were read as well.
    fs::remove_dir_all(rig.path("releases/02")).unwrap();
    tell(&rig, "upgrade").ended(Outcome::Refused, "Not upgrading: --chdir: ");
    replaced_with(&master, "1");
    runs(&master, "01");
    // They are no part of the code: a reload takes them, and the code stays.
    tell(&rig, "reload").ended(Outcome::Done, "Reload done");
    replaced_with(&master, "2");
    runs(&master, "01");
}

/// Files that cannot be read, each with what is wrong with it behind the name of the option.
fn bad_files() -> [(Option<&'static str>, &'static str); 5] {
    [
        (Some("VALUE=2\n\nno assignment\n"), ": line 3 is not NAME=VALUE"),
        (Some("VALUE=2\nEINHORN_FD_0=5\n"), ": EINHORN_FD_0 is set by einhorn itself"),
        (Some("VALUE=2\nTEXT='2\n\n"), ": line 2 is not NAME=VALUE"),
        (Some("no assignment # but a comment\n"), ": line 1 is not NAME=VALUE"),
        (None, ": No such file or directory"),
    ]
}

fn make(rig: &Rig, file: Option<&str>) {
    match file {
        Some(text) => write(rig, text),
        None => fs::remove_file(rig.path("env")).unwrap(),
    }
}

fn a_bad_file_is_refused_with_file_and_line_and_nothing_changes() {
    let rig = Rig::new();
    let master = start(&rig, "VALUE=1\n");
    let before = master.settled(WORKERS);
    deploy_good(&rig, "02");
    for (file, why) in bad_files() {
        make(&rig, file);
        for command in ["upgrade", "upgrade_fleet", "reload"] {
            let told = tell(&rig, command);
            let why = format!("Not upgrading: --env-file {}{why}", rig.path("env").display());
            told.ended(Outcome::Refused, &why);
            assert_eq!(master.settled(WORKERS), before);
        }
    }
    replaced_with(&master, "1");
    runs(&master, "01");
    assert!(!rig.log().contains("Re-executed"));
    write(&rig, "VALUE=2\n");
    tell(&rig, "upgrade").done();
    all_given(&master, "VALUE", Some("2"));
    runs(&master, "02");
}

fn a_start_with_a_bad_file_is_refused() {
    let rig = Rig::new();
    deploy_good(&rig, "01");
    write(&rig, "");
    let path = rig.path("env").display().to_string();
    for (file, why) in bad_files() {
        make(&rig, file);
        let options = ["-b", "127.0.0.1:0", "--chdir", "current", "--env-file", "env", PROGRAM];
        let refusal = refused(&rig, rig.einhorn(&options));
        refusal.assert_says(1, &[&format!("--env-file {path}{why}")]);
        let check = [&["--upgrade-check"], &options[..]].concat();
        refused(&rig, rig.einhorn(&check)).assert_says(1, &[&format!("--env-file {path}{why}")]);
    }
}
