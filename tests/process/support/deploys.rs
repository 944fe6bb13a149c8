//! Releases side by side in the folder of a rig, and a symlink to the newest, two kept.

use std::path::PathBuf;

use crate::support::load::{ask, port};
use crate::support::rig::{Master, Rig};
use crate::support::state_dump::Moment;
use crate::support::worker;

/// The release's program, as a master is given it.
pub(crate) const PROGRAM: &str = "bin/server";

/// Makes a release whose workers do the steps given, leads `current` to it, keeps two.
const DEPLOY: &str = r#"
mkdir -p releases/$1/bin
printf '#!/bin/sh\nexec "$TEST_PROGRAM" %s\n' "$2" > releases/$1/bin/server
chmod +x releases/$1/bin/server
ln -s releases/$1 current.new
mv -T current.new current
ls -d releases/* | sort | head -n -2 | xargs -r rm -r
"#;

pub(crate) fn deploy(rig: &Rig, release: &str, steps: &str) {
    let steps = format!("{} {steps}", worker::FLAG);
    let mut deploy = rig.command("sh");
    deploy.args(["-ec", DEPLOY, "sh", release, &steps]);
    assert!(deploy.status().unwrap().success());
}

/// The steps of a release whose workers ACK, and answer with its name until they are told to go.
pub(crate) fn good(release: &str) -> String {
    format!("hold-usr2 ack drain={release}")
}

pub(crate) fn deploy_good(rig: &Rig, release: &str) {
    deploy(rig, release, &good(release));
}

/// The directory of a release, as the master tells it.
pub(crate) fn directory(rig: &Rig, release: &str) -> PathBuf {
    std::fs::canonicalize(rig.path("")).unwrap().join("releases").join(release)
}

/// A master that follows `current`, in which this release is deployed; its workers serve.
pub(crate) fn start<'a>(rig: &'a Rig, release: &str, options: &[&str]) -> Master<'a> {
    let mut command = rig.einhorn(&["-b", "127.0.0.1:0,n", "-l", "1024", "--chdir", "current"]);
    command.args(options).arg(PROGRAM).env("TEST_PROGRAM", std::env::current_exe().unwrap());
    let master = rig.launch(command);
    let count = Moment::of(&master).target;
    master.settled(count);
    runs(&master, release);
    master
}

/// Every answer is of this release.
pub(crate) fn runs(master: &Master<'_>, release: &str) {
    let port = port(master);
    for _ in 0..4 * Moment::of(master).target {
        assert_eq!(ask(port).unwrap().1, release);
    }
}
