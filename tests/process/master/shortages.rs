//! Starts for which the system has too little left: they say so and leave nothing behind.

use crate::master::srv_words::may_mount;
use crate::support::failed_starts::refused;
use crate::support::rig::Rig;

crate::tests![too_few_descriptors_for_a_start_are_told, a_file_system_that_takes_no_file_is_told,];

fn too_few_descriptors_for_a_start_are_told() {
    for limit in 4..=9 {
        let rig = Rig::new();
        let script = format!("ulimit -n {limit}; exec \"$@\"");
        let command = rig.shell(&script, &["-b", "unix:first", "-b", "127.0.0.1:0", "true"]);
        refused(&rig, command).assert_says(1, &["Too many open files"]);
    }
}

fn a_file_system_that_takes_no_file_is_told() {
    if !may_mount() {
        return;
    }
    for (prepare, file, told) in [
        ("head -c 4096 /dev/zero > run/full", "-e", "No space left"),
        ("mount -o remount,ro run", "-d", "its file system is read-only"),
        ("mount -o remount,ro run", "-e", "Read-only file system"),
        ("mount -o remount,ro run", "-f", "Read-only file system"),
    ] {
        let rig = Rig::new();
        rig.subfolder("run");
        let mount = "mount -t tmpfs -o size=4096 none run";
        let script =
            format!("{mount} && {prepare} && {{ \"$@\"; status=$?; ls run; exit $status; }}");
        let mut command = rig.command("unshare");
        command.args(["-m", "sh", "-c", &script, "sh", env!("CARGO_BIN_EXE_einhorn")]);
        command.args(["-b", "unix:first", file, "run/x", "true"]);
        let refusal = refused(&rig, command);
        let left = if prepare.contains("full") { "full\n" } else { "" };
        assert_eq!((refusal.code, refusal.stdout.as_str()), (Some(1), left), "{refusal:?}");
        assert!(refusal.stderr.contains(told) && refusal.stderr.contains(file), "{refusal:?}");
    }
}
