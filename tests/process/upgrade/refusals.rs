//! What cannot become the next image is refused in words, and nothing changes.

use std::fs::{self, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::Signal;

use crate::support::before_and_after::{Given, Snapshot};
use crate::support::releases::{THIS, place, reexec_count, script, start_placed, start_wrapped};
use crate::support::rig::{Master, Rig, has, send};
use crate::support::{proc, wait};

crate::tests![
    every_unfit_program_is_refused_with_its_reason,
    every_wrapper_that_is_unfit_after_its_check_leaves_the_master_as_it_was,
    a_program_that_is_written_slowly_is_refused_until_it_is_whole,
    a_program_that_changes_during_its_check_is_refused,
    too_little_room_for_arguments_is_a_refusal,
    too_few_descriptors_or_files_are_a_refusal,
    the_command_line_is_the_same_after_any_number_of_upgrades,
    a_command_socket_that_was_removed_is_bound_anew,
    secrets_of_the_environment_stay_out_of_the_log,
];

fn start(rig: &Rig) -> Master<'_> {
    let master = start_placed(rig, &["-n", "2", "-m", "manual"], &["ack", "wait"]);
    master.settled(2);
    master
}

/// A reload is refused with these words and changes nothing.
fn refused(master: &Master<'_>, words: &str) {
    let before = Snapshot::of(master);
    let answer = master.say("reload", &[]);
    assert!(answer.starts_with("Not upgrading: "), "{answer}");
    assert!(answer.contains(words), "{answer}");
    before.assert_kept(master);
}

fn every_unfit_program_is_refused_with_its_reason() {
    let rig = Rig::new();
    let master = start(&rig);
    let put = |text: &str| drop(script(&rig, "m", text));
    let remove = || fs::remove_file(rig.path("m")).unwrap();
    let format = "neither a program for this machine nor a script";
    let wrong_machine = {
        let mut bytes = fs::read(THIS).unwrap();
        // e_machine of the ELF header.
        bytes[18] ^= 0x55;
        bytes.truncate(4096);
        bytes
    };
    remove();
    refused(&master, "No such file");
    fs::create_dir(rig.path("m")).unwrap();
    refused(&master, "it is a directory");
    fs::remove_dir(rig.path("m")).unwrap();
    std::os::unix::fs::symlink("m", rig.path("m")).unwrap();
    refused(&master, "symbolic link");
    remove();
    put("");
    refused(&master, format);
    put("no program\n");
    refused(&master, format);
    put("#!/missing/sh\n");
    refused(&master, "the interpreter that it names is missing");
    put("#!/bin/sh\r\nexec EINHORN \"$@\"\r\n");
    refused(&master, "the interpreter that it names is missing");
    put("#!/etc/passwd\n");
    refused(&master, "ermission denied");
    fs::write(rig.path("bytes"), wrong_machine).unwrap();
    place(&rig, &rig.path("bytes"), "m");
    refused(&master, format);
    put("#!/bin/sh\n");
    fs::set_permissions(rig.path("m"), Permissions::from_mode(0o644)).unwrap();
    refused(&master, "not executable (chmod +x)");
    place(&rig, Path::new(THIS), "m");
    assert!(master.say("reload", &[]).starts_with("Reload done"));
    // The script that leads to it is as good.
    put("#!/bin/sh\nexec EINHORN \"$@\"\n");
    for _ in 0..2 {
        assert!(master.say("reload", &[]).starts_with("Reload done"), "{}", rig.log());
    }
}

fn every_wrapper_that_is_unfit_after_its_check_leaves_the_master_as_it_was() {
    let format = "neither a program for this machine nor a script";
    for (spoil, words) in [
        ("rm \"$0\"", "No such file"),
        ("chmod 0 \"$0\"", "not executable"),
        ("rm \"$0\"; mkdir \"$0\"", "it is a directory"),
        ("rm \"$0\"; ln -s wrapper \"$0\"", "symbolic link"),
        ("rm \"$0\"; : >\"$0\"; chmod 755 \"$0\"", format),
        ("rm \"$0\"; echo text >\"$0\"; chmod 755 \"$0\"", format),
        ("rm \"$0\"; echo '#!/missing' >\"$0\"; chmod 755 \"$0\"", "interpreter"),
    ] {
        let rig = Rig::new();
        let text = format!("#!/bin/sh\n{spoil}\nexec EINHORN \"$@\"\n");
        script(&rig, "wrapper", &text);
        let master = start_wrapped(&rig, "wrapper", &["-n", "2", "-b", "127.0.0.1:0"]);
        master.settled(2);
        let before = Snapshot::of(&master);
        let answer = master.say("reload", &[]);
        assert!(
            answer.starts_with("Could not upgrade, and went on as before: "),
            "{spoil}: {answer}"
        );
        assert!(answer.contains(words), "{spoil}: {answer}");
        before.assert_kept(&master);
        // What a worker is given is as before, too.
        let worker = master.settled(2)[0];
        let given = Given::to(worker);
        send(worker, Signal::SIGKILL);
        master.until_logged("killed by SIGKILL");
        let workers = master.settled(2);
        assert!(workers.iter().all(|pid| Given::to(*pid) == given));
        let _ = fs::remove_dir(rig.path("wrapper"));
        script(&rig, "wrapper", "#!/bin/sh\nexec EINHORN \"$@\"\n");
        assert!(master.say("reload", &[]).starts_with("Reload done"));
    }
}

fn a_program_that_is_written_slowly_is_refused_until_it_is_whole() {
    let rig = Rig::new();
    let master = start(&rig);
    let bytes = fs::read(THIS).unwrap();
    fs::remove_file(rig.path("m")).unwrap();
    let parts: Vec<&[u8]> = bytes.chunks(bytes.len() / 12).collect();
    for (index, part) in parts.iter().enumerate() {
        let mut file = OpenOptions::new().create(true).append(true).open(rig.path("m")).unwrap();
        file.set_permissions(Permissions::from_mode(0o755)).unwrap();
        // Open for writing, and then closed but not whole.
        let first = master.say("reload", &[]);
        file.write_all(part).unwrap();
        drop(file);
        let second = master.say("reload", &[]);
        let is_whole = index + 1 == parts.len();
        assert!(first.starts_with("Not upgrading: "), "{first}");
        // The last part holds nothing that is needed to run.
        let is_refused = second.starts_with("Not upgrading: ");
        assert!(is_refused || second.starts_with("Reload done"), "{second}");
        assert!(!is_whole || !is_refused, "{second}");
        if !is_refused {
            break;
        }
    }
    assert!(!proc::has_ended(master.pid()));
    master.settled(2);
}

fn a_program_that_changes_during_its_check_is_refused() {
    let rig = Rig::new();
    let master = start(&rig);
    let refused = while_it_changes(&master, &rig.path("m"));
    assert!(refused.contains("was written to after it was checked"), "{refused}");
    assert!(master.say("reload", &[]).starts_with("Reload done"));
}

/// The first reload that is not done while a program changes all the time.
pub(crate) fn while_it_changes(master: &Master<'_>, program: &Path) -> String {
    let is_done = AtomicBool::new(false);
    // On a busy machine nothing may change during a check, which is fine then.
    let refused = std::thread::scope(|scope| {
        scope.spawn(|| {
            // A program that runs cannot be opened for writing, but its time can be changed.
            let program = fs::File::open(program).unwrap();
            loop {
                program.set_modified(std::time::SystemTime::now()).unwrap();
                if is_done.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        let mut answers = (0..50).map(|_| master.say("reload", &[]));
        let refused = answers.find(|answer| !answer.starts_with("Reload done"));
        is_done.store(true, Ordering::Relaxed);
        refused
    });
    refused.unwrap()
}

/// Sets a limit of a running process.
fn limit(rig: &Rig, pid: i32, limit: &str) {
    let mut prlimit = rig.command("prlimit");
    let status = prlimit.args(["--pid", &pid.to_string(), limit]).status().unwrap();
    assert!(status.success(), "{limit}");
}

fn too_little_room_for_arguments_is_a_refusal() {
    if !has("prlimit") {
        return;
    }
    let rig = Rig::new();
    place(&rig, Path::new(THIS), "m");
    let mut command = rig.command(rig.path("m"));
    command.args(["-n", "2", "-m", "0", "sleep", "1000"]);
    // Each fits; together they take half of what a stack of eight MB lets in.
    for index in 0..8 {
        command.env(format!("LARGE_{index}"), "x".repeat(120_000));
    }
    let master = rig.launch(command);
    master.settled(2);
    assert!(master.say("reload", &[]).starts_with("Reload done"));
    limit(&rig, master.pid(), "--stack=1048576:");
    let answer = master.say("reload", &[]);
    assert!(answer.starts_with("Not upgrading: ") && answer.contains("too long"), "{answer}");
    limit(&rig, master.pid(), "--stack=8388608:");
    assert!(master.say("reload", &[]).starts_with("Reload done"));
}

fn too_few_descriptors_or_files_are_a_refusal() {
    if !has("prlimit") {
        return;
    }
    let rig = Rig::new();
    let master = start(&rig);
    let pid = master.pid();
    let (soft, hard) = proc::open_files(pid);
    for (few, enough) in [
        // A connection is left room for, a preflight is not.
        ("--nofile=14:".to_owned(), format!("--nofile={soft}:{hard}")),
        ("--fsize=16:".to_owned(), "--fsize=unlimited:".to_owned()),
    ] {
        let before = Snapshot::of(&master);
        limit(&rig, pid, &few);
        let answer = master.say("reload", &[]);
        limit(&rig, pid, &enough);
        assert!(answer.starts_with("Not upgrading: "), "{few} {answer}");
        before.assert_kept(&master);
        assert!(master.say("reload", &[]).starts_with("Reload done"), "{few}");
    }
}

fn the_command_line_is_the_same_after_any_number_of_upgrades() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let rig = Rig::new();
    let mut command = rig.einhorn(&["-m", "0", "--", "sh", "-c", "exec sleep 1000", "sh"]);
    let odd: [&[u8]; 7] =
        [b"--", b"two words", b"", "\u{e4}\u{2713}".as_bytes(), b"\xff\xfe", b"a\nb", b"--help"];
    command.args(odd.iter().map(|word| OsStr::from_bytes(word)));
    let master = rig.launch(command);
    let worker = master.settled(1)[0];
    assert!(master.say("reload", &[]).starts_with("Reload done"));
    // The number of the state is what may differ.
    let line = |pid: i32| {
        let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap();
        let words: Vec<Vec<u8>> = bytes.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
        let state = words.iter().position(|word| word == b"--with-state-fd");
        words
            .into_iter()
            .enumerate()
            .filter(|(i, _)| Some(*i) != state.map(|s| s + 1))
            .map(|(_, word)| word)
            .collect::<Vec<_>>()
    };
    let before = line(master.pid());
    let (name, comm) = (before[0].clone(), proc::stat(master.pid()).unwrap().name);
    for _ in 0..20 {
        assert!(master.say("reload", &[]).starts_with("Reload done"));
        assert_eq!(line(master.pid()), before);
    }
    assert_eq!(name, THIS.as_bytes());
    assert_eq!(comm, "einhorn");
    assert!(before.windows(odd.len()).any(|words| words == odd));
    send(worker, Signal::SIGKILL);
    master.until_logged("killed by SIGKILL");
    let next = master.settled(1)[0];
    assert_ne!(next, worker);
}

fn a_command_socket_that_was_removed_is_bound_anew() {
    let rig = Rig::new();
    let master = rig.launch(rig.einhorn(&["-n", "2", "-m", "0", "sleep", "1000"]));
    let workers = master.settled(2);
    fs::remove_file(rig.socket()).unwrap();
    master.signal(Signal::SIGHUP);
    let look = || rig.socket().exists().then_some(());
    wait::until_some("the socket is there", look, || rig.log());
    master.until_logged("Bound ");
    let after = master.settled(2);
    assert!(after.iter().all(|pid| !workers.contains(pid)) || reexec_count(&rig) == 1);
}

fn secrets_of_the_environment_stay_out_of_the_log() {
    let rig = Rig::new();
    script(&rig, "wrapper", "#!/bin/sh\nexec 3<&- 4<&- 5<&- 6<&- 7<&-\nexec EINHORN \"$@\"\n");
    let wrapper = rig.path("wrapper").display().to_string();
    let mut command = rig.einhorn(&["-v", "-v", "-m", "0", "--reexec-as", &wrapper]);
    command.args(["sleep", "1000"]).env("PASSWORD", "open-sesame");
    let master = rig.launch(command);
    master.settled(1);
    let mut said = String::new();
    for text in ["exit 3", "exec 3</dev/null 4</dev/null\nexec EINHORN \"$@\"", "EINHORN \"$@\""] {
        script(&rig, "wrapper", &format!("#!/bin/sh\n{text}\n"));
        said.push_str(&master.say("reload", &[]));
    }
    script(&rig, "wrapper", "#!/bin/sh\nrm \"$0\"\nexec EINHORN \"$@\"\n");
    said.push_str(&master.say("reload", &[]));
    said.push_str(&rig.log());
    assert!(!said.contains("open-sesame") && said.contains("Not upgrading"), "{said}");
}
