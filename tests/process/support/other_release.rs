//! A symlink that leads now to one build of einhorn and now to another.

use std::ffi::OsStr;
use std::path::Path;

use crate::support::rig::{Master, Rig};
use crate::support::worker;

/// Makes `name` in a rig's folder lead to a release, at once, as `ln -sfn` and `mv -T` do.
pub(crate) fn install(rig: &Rig, release: &Path, name: &str) {
    let unfinished = rig.path(&format!("{name}.unfinished"));
    std::os::unix::fs::symlink(release, &unfinished).unwrap();
    std::fs::rename(unfinished, rig.path(name)).unwrap();
}

/// A master that was started as a path in the rig's folder.
pub(crate) fn start_as<'a>(
    rig: &'a Rig,
    name: &str,
    options: &[&str],
    steps: &[&str],
    variables: &[(&str, &str)],
) -> Master<'a> {
    let mut command = rig.command(rig.path(name));
    command.args(options).arg(std::env::current_exe().unwrap()).arg(worker::FLAG).args(steps);
    command.envs(variables.iter().map(|(name, value)| (OsStr::new(*name), OsStr::new(*value))));
    rig.launch(command)
}
