//! More than one master: of one name, after a death; and the files that tell them apart.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::Path;

use nix::sys::signal::Signal;

use crate::support::failed_starts::refused;
use crate::support::rig::{Master, Rig, names, send};
use crate::support::wait;

crate::tests![
    a_second_master_of_one_name_is_told_what_to_do_and_harms_nothing,
    a_second_master_with_a_named_file_of_the_first_is_refused,
    masters_that_differ_in_their_command_socket_alone_live_side_by_side,
    a_master_may_be_the_worker_of_another,
    a_default_file_that_cannot_be_had_keeps_no_master_away,
    one_file_may_be_the_lock_for_both,
    masters_with_names_of_their_own_live_side_by_side,
    after_a_killed_master_the_next_start_works,
    a_pid_file_of_anybody_else_is_replaced,
    a_pid_file_may_be_a_device,
    a_pid_file_may_be_a_link_even_to_nothing_yet,
    files_that_are_not_ours_any_more_are_left_alone,
];

const SLEEPER: [&str; 2] = ["sleep", "1000"];

fn pid_in(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

fn stop(mut master: Master<'_>) {
    master.signal(Signal::SIGTERM);
    assert!(master.ended().success());
}

fn a_second_master_of_one_name_is_told_what_to_do_and_harms_nothing() {
    for name in [&[][..], &["-c", "web"]] {
        let rig = Rig::new();
        let extension = if name.is_empty() { "" } else { "-web" };
        let file = |kind: &str| rig.path(&format!("einhorn{extension}.{kind}"));
        let first = rig.einhorn(&[name, &SLEEPER].concat());
        let first = rig.launch_at(first, file("sock"));
        let workers = first.workers();
        let second = rig.einhorn(&[name, &["-b", "unix:second"], &SLEEPER].concat());
        let lock = file("sock.lock").display().to_string();
        let told = ["another einhorn holds the lock", &lock, "-c", "-d"];
        refused(&rig, second).assert_says(1, &told);
        assert_eq!(first.workers(), workers);
        assert_eq!(pid_in(&file("pid")), format!("{}\n", first.pid()));
    }
}

fn a_second_master_with_a_named_file_of_the_first_is_refused() {
    let rig = Rig::new();
    let named = ["-d", "d", "-e", "e", "-f", "f"];
    let command = rig.einhorn(&[&named[..], &SLEEPER].concat());
    let first = rig.launch_at(command, rig.path("d"));
    let pid = format!("running master (pid {})", first.pid());
    for (files, told) in [
        (["-d", "d", "-e", "2", "-f", "3"], ["d.lock", "another einhorn holds the lock", "-d"]),
        (["-d", "1", "-e", "2", "-f", "f"], ["/f;", "another einhorn holds the lock", "-f"]),
        (["-d", "1", "-e", "e", "-f", "3"], ["/e ", &pid, "-e"]),
    ] {
        let second = rig.einhorn(&[&files[..], &SLEEPER].concat());
        refused(&rig, second).assert_says(1, &told);
        assert_eq!(first.workers().len(), 1);
    }
    // The names count, not which of them is a default.
    let default = rig.launch(rig.einhorn(&SLEEPER));
    let pid = format!("running master (pid {})", default.pid());
    let second = rig.einhorn(&["-d", "1", "-e", "einhorn.pid", "sleep", "1000"]);
    refused(&rig, second).assert_says(1, &["einhorn.pid", &pid, "-e"]);
    let held = rig.path("einhorn.lock");
    let holder = ["-d", "1", "-f", "einhorn.lock", "sleep", "1000"];
    let _holder = rig.launch_at(rig.einhorn(&holder), rig.path("1"));
    let second = rig.einhorn(&["-d", "2", "-f", "einhorn.lock", "sleep", "1000"]);
    refused(&rig, second).assert_says(1, &[held.to_str().unwrap(), "holds the lock", "-f"]);
}

fn masters_that_differ_in_their_command_socket_alone_live_side_by_side() {
    let rig = Rig::new();
    let first = rig.launch(rig.einhorn(&SLEEPER));
    let told = format!(
        "Running without the default pid file: the pid file {} belongs to a running master \
         (pid {})",
        rig.path("einhorn.pid").display(),
        first.pid()
    );
    let start = |number: usize| {
        let name = format!("sock{number}");
        // What the folder of the default files is to the next image does not matter.
        let words = ["-d", &name, "--drop-env-var", "TMPDIR", "sleep", "1000"];
        rig.launch_at(rig.einhorn(&words), rig.path(&name))
    };
    let mut others: Vec<Master<'_>> = (1..10).map(start).collect();
    assert_eq!(rig.log().matches(&told).count(), 9, "{}", rig.log());
    for master in &others {
        assert_eq!(master.workers().len(), 1);
        assert!(master.say("reload", &[]).starts_with("Reload done"), "{}", rig.log());
        // What was not refused at the start is not refused to the next image either.
        let again = rig.einhorn(&["-d", master.socket().to_str().unwrap(), "sleep", "1000"]);
        refused(&rig, again).assert_says(1, &["another einhorn holds the lock"]);
    }
    assert!(!rig.log().contains("ERROR"), "{}", rig.log());
    others.drain(..).for_each(stop);
    assert_eq!(pid_in(&rig.path("einhorn.pid")), format!("{}\n", first.pid()));
    // A Ruby master takes the default lock while it starts; ours does not hold it.
    let default = fs::File::open(rig.path("einhorn.lock")).unwrap();
    default.try_lock().unwrap();
}

fn a_master_may_be_the_worker_of_another() {
    let rig = Rig::new();
    let inner = ["-d", "inner.sock", "-b", "127.0.0.1:0", "-n", "2", "-m", "0", "sleep", "1000"];
    let einhorn = env!("CARGO_BIN_EXE_einhorn");
    let outer = rig.launch(rig.einhorn(&[&["-m", "0", einhorn][..], &inner].concat()));
    let worker = outer.settled(1)[0];
    let socket = rig.path("inner.sock");
    let greeted =
        || einhorn::client::Client::connect(&socket).ok()?.greet("test").ok()?.next()?.ok();
    let greeting = outer.until("the inner master answers", greeted);
    assert!(greeting.message.contains(&worker.to_string()), "{greeting:?}");
}

fn a_default_file_that_cannot_be_had_keeps_no_master_away() {
    let rig = Rig::new();
    let held = fs::File::create(rig.path("einhorn.lock")).unwrap();
    held.lock().unwrap();
    rig.subfolder("einhorn.pid");
    let master = rig.launch(rig.einhorn(&SLEEPER));
    for told in [
        "Starting without the default lock file: another process holds the lock",
        "Running without the default pid file: cannot write the pid file",
    ] {
        master.until_logged(told);
    }
    assert!(!rig.log().contains("ERROR"), "{}", rig.log());
    stop(master);
    // Named, they do.
    for (option, file) in [("-e", "einhorn.pid"), ("-f", "einhorn.lock")] {
        let named = rig.einhorn(&[option, file, "sleep", "1000"]);
        refused(&rig, named).assert_says(1, &[file, option]);
    }
}

fn one_file_may_be_the_lock_for_both() {
    let rig = Rig::new();
    let options = ["-d", "one", "-f", "one.lock", "sleep", "1000"];
    let master = rig.launch_at(rig.einhorn(&options), rig.path("one"));
    assert!(master.say("reload", &[]).starts_with("Reload done"), "{}", rig.log());
    let second = rig.einhorn(&["-d", "two", "-f", "one.lock", "sleep", "1000"]);
    refused(&rig, second).assert_says(1, &["one.lock", "holds the lock", "-f"]);
    assert!(!rig.log().contains("ERROR"), "{}", rig.log());
}

fn masters_with_names_of_their_own_live_side_by_side() {
    let rig = Rig::new();
    let unnamed = rig.launch(rig.einhorn(&SLEEPER));
    let command = rig.einhorn(&["-c", "web", "sleep", "1000"]);
    let named = rig.launch_at(command, rig.path("einhorn-web.sock"));
    assert_ne!(unnamed.workers(), named.workers());
    stop(named);
    assert_eq!(unnamed.workers().len(), 1);
}

fn after_a_killed_master_the_next_start_works() {
    let rig = Rig::new();
    let options = ["-b", "unix:listener", "-b", "127.5.0.1:0"];
    let mut first = rig.launch(rig.einhorn(&[&options[..], &SLEEPER].concat()));
    let address = format!("127.5.0.1:{}", first.port(1));
    let (pid, workers) = (first.pid(), first.workers());
    first.signal(Signal::SIGKILL);
    first.ended();
    let left =
        ["einhorn.lock", "einhorn.pid", "einhorn.sock", "einhorn.sock.lock", "listener", "log"];
    assert_eq!(names(&rig.path("")), left);
    // They hold the listeners, which are theirs as long as they live.
    for worker in workers {
        send(worker.pid, Signal::SIGKILL);
        let gone = || crate::support::proc::has_ended(worker.pid).then_some(());
        wait::until_some("the worker is gone", gone, || rig.log());
    }
    let options = ["-b", "unix:listener", "-b", &address];
    let second = rig.launch(rig.einhorn(&[&options[..], &SLEEPER].concat()));
    assert_ne!(second.pid(), pid);
    assert_eq!(pid_in(&rig.path("einhorn.pid")), format!("{}\n", second.pid()));
    stop(second);
    assert_eq!(names(&rig.path("")), ["einhorn.lock", "einhorn.sock.lock", "log"]);
}

fn a_pid_file_of_anybody_else_is_replaced() {
    // Pids come again: that of a living process is no proof that its master lives.
    for content in [std::process::id().to_string(), String::new(), "nonsense\n".repeat(1000)] {
        let rig = Rig::new();
        fs::write(rig.path("einhorn.pid"), content).unwrap();
        let master = rig.launch(rig.einhorn(&SLEEPER));
        assert_eq!(pid_in(&rig.path("einhorn.pid")), format!("{}\n", master.pid()));
    }
}

fn a_pid_file_may_be_a_device() {
    let rig = Rig::new();
    let before = fs::metadata("/dev/null").unwrap();
    let first = rig.launch(rig.einhorn(&["-e", "/dev/null", "sleep", "1000"]));
    // Nobody owns a device: another may have it too.
    let second = rig.einhorn(&["-c", "second", "-e", "/dev/null", "sleep", "1000"]);
    stop(rig.launch_at(second, rig.path("einhorn-second.sock")));
    stop(first);
    let after = fs::metadata("/dev/null").unwrap();
    assert!(after.file_type().is_char_device());
    assert_eq!((after.ino(), after.mode()), (before.ino(), before.mode()));
}

fn a_pid_file_may_be_a_link_even_to_nothing_yet() {
    let rig = Rig::new();
    rig.subfolder("run");
    fs::write(rig.path("run/old"), "1\n").unwrap();
    for target in ["run/new", "run/old", "link-to-link"] {
        symlink("run/linked", rig.path("link-to-link")).unwrap();
        symlink(target, rig.path("link")).unwrap();
        let master = rig.launch(rig.einhorn(&["-e", "link", "sleep", "1000"]));
        assert_eq!(fs::read_link(rig.path("link")).unwrap(), Path::new(target));
        assert_eq!(pid_in(&rig.path("link")), format!("{}\n", master.pid()));
        stop(master);
        assert!(!fs::exists(rig.path("link")).unwrap(), "the file is gone and the link is not");
        fs::remove_file(rig.path("link")).unwrap();
        fs::remove_file(rig.path("link-to-link")).unwrap();
    }
}

fn files_that_are_not_ours_any_more_are_left_alone() {
    let rig = Rig::new();
    let master = rig.launch(rig.einhorn(&SLEEPER));
    for file in ["einhorn.pid", "einhorn.sock"] {
        fs::remove_file(rig.path(file)).unwrap();
        fs::write(rig.path(file), "somebody else's").unwrap();
    }
    stop(master);
    for file in ["einhorn.pid", "einhorn.sock"] {
        assert_eq!(fs::read_to_string(rig.path(file)).unwrap(), "somebody else's");
    }
}
