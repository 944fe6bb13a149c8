//! What a worker is given, and nothing else.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::{SigSet, Signal};

use crate::support::rig::{Master, Rig, prepare, send};
use crate::support::{proc, wait};

crate::tests![
    the_environment_is_the_original_one_and_what_einhorn_adds,
    without_listeners_nothing_of_an_outer_einhorn_is_left,
    descriptors_are_the_standard_ones_the_listeners_and_the_given_one,
    descriptors_that_the_launcher_left_open_are_not_handed_on,
    standard_descriptors_that_were_closed_lead_to_nothing,
    the_mask_is_the_original_one_and_every_disposition_the_default,
    workers_of_a_master_under_nohup_can_be_hung_up,
    limit_folder_and_umask_are_the_original_ones_and_the_group_its_own,
    a_thousand_workers_run_and_stop,
];

/// A program that changes nothing of what it was given, in a mode in which it is up at once.
const SLEEPER: [&str; 4] = ["-m", "0", "sleep", "1000"];

/// What the master was started with, besides what every rig sets.
fn original() -> [(&'static OsStr, &'static OsStr); 6] {
    [
        ("PATH", &b"/usr/local/bin:/usr/bin:/bin"[..]),
        ("EQUALS", b"=a=b="),
        ("LINES_OF_IT", b"one\ntwo\n"),
        ("BYTES", b"\xff\xfe\x80"),
        ("EMPTY", b""),
        ("EINHORN_HOME", b"none of ours"),
    ]
    .map(|(name, value)| (OsStr::new(name), OsStr::from_bytes(value)))
}

/// What a master gets that is itself a worker.
const OUTER: [(&str, &str); 9] = [
    ("EINHORN_MASTER_PID", "1"),
    ("EINHORN_SOCK_PATH", "/outer"),
    ("EINHORN_SOCK_FD", "42"),
    ("EINHORN_CHILD_INDEX", "7"),
    ("EINHORN_FDS", "8 9"),
    ("EINHORN_FD_COUNT", "9"),
    ("EINHORN_FD_8", "17"),
    ("EINHORN_FD_FAMILY_8", "AF_INET6"),
    ("EINHORN_FD_TYPE_8", "SOCK_STREAM"),
];

/// A master of sleepers in an environment of [`original`] and [`OUTER`], and that environment.
fn in_known_environment(rig: &Rig, options: &[&str]) -> (Command, Vec<OsString>) {
    let mut command = rig.einhorn(&[options, &SLEEPER].concat());
    let of_rig: Vec<(OsString, OsString)> = command
        .get_envs()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
        .collect();
    command.env_clear().envs(of_rig.clone()).envs(original()).envs(OUTER);
    let of_rig = of_rig.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()));
    let kept = of_rig.chain(original()).map(|(name, value)| [name, value].join(OsStr::new("=")));
    (command, kept.collect())
}

/// The descriptors of the `-b` listeners, by the state dump.
fn listeners(master: &Master<'_>) -> Vec<i32> {
    let numbers = master.state()[":bind_fds"].as_sequence().unwrap().clone();
    numbers.iter().map(|number| i32::try_from(number.as_i64().unwrap()).unwrap()).collect()
}

/// The descriptor that `EINHORN_SOCK_FD` names.
fn given(worker: i32) -> i32 {
    let entries = proc::environment(worker).into_iter().map(OsString::into_string);
    let find = |entry: String| entry.strip_prefix("EINHORN_SOCK_FD=")?.parse().ok();
    entries.flatten().find_map(find).unwrap()
}

fn the_environment_is_the_original_one_and_what_einhorn_adds() {
    let rig = Rig::new();
    let unix = format!("unix:{}", rig.path("listener").display());
    let binds = ["-b", "127.0.0.1:0", "-b", &unix, "-b", "udp:127.0.0.1:0", "-g"];
    let (command, mut expected) = in_known_environment(&rig, &binds);
    let master = rig.launch(command);
    let worker = master.settled(1)[0];
    let fds = listeners(&master);
    let added = [
        ("EINHORN_MASTER_PID", master.pid().to_string()),
        ("EINHORN_SOCK_PATH", rig.socket().display().to_string()),
        ("EINHORN_SOCK_FD", given(worker).to_string()),
        ("EINHORN_CHILD_INDEX", "0".to_owned()),
        ("EINHORN_FDS", format!("{} {} {}", fds[0], fds[1], fds[2])),
        ("EINHORN_FD_COUNT", "3".to_owned()),
        ("EINHORN_FD_0", fds[0].to_string()),
        ("EINHORN_FD_1", fds[1].to_string()),
        ("EINHORN_FD_2", fds[2].to_string()),
        ("EINHORN_FD_FAMILY_0", "AF_INET".to_owned()),
        ("EINHORN_FD_FAMILY_1", "AF_UNIX".to_owned()),
        ("EINHORN_FD_FAMILY_2", "AF_INET".to_owned()),
        ("EINHORN_FD_TYPE_0", "SOCK_STREAM".to_owned()),
        ("EINHORN_FD_TYPE_1", "SOCK_STREAM".to_owned()),
        ("EINHORN_FD_TYPE_2", "SOCK_DGRAM".to_owned()),
    ];
    expected.extend(added.iter().map(|(name, value)| format!("{name}={value}").into()));
    expected.sort();
    assert_eq!(proc::environment(worker), expected);
}

fn without_listeners_nothing_of_an_outer_einhorn_is_left() {
    let rig = Rig::new();
    let (command, mut expected) = in_known_environment(&rig, &[]);
    let master = rig.launch(command);
    let worker = master.settled(1)[0];
    expected.extend([
        format!("EINHORN_MASTER_PID={}", master.pid()).into(),
        format!("EINHORN_SOCK_PATH={}", rig.socket().display()).into(),
        "EINHORN_CHILD_INDEX=0".into(),
        "EINHORN_FDS=".into(),
        "EINHORN_FD_COUNT=0".into(),
    ]);
    expected.sort();
    assert_eq!(proc::environment(worker), expected);
}

/// Waits until a worker has these descriptors and no other; while it loads its libraries it has
/// more.
fn until_open(worker: i32, expected: impl IntoIterator<Item = i32>) {
    let expected: BTreeSet<i32> = expected.into_iter().collect();
    let open = || proc::descriptors(worker);
    wait::until_some(
        &format!("descriptors {expected:?} are open"),
        || open().keys().eq(&expected).then_some(()),
        || format!("{:?}", open()),
    );
}

fn descriptors_are_the_standard_ones_the_listeners_and_the_given_one() {
    let rig = Rig::new();
    let options = ["-n", "3", "-b", "127.0.0.1:0", "-b", "udp:127.0.0.1:0", "-g"];
    let master = rig.launch(rig.einhorn(&[&options[..], &SLEEPER].concat()));
    let listeners = listeners(&master);
    let own = proc::descriptors(std::process::id().cast_signed());
    for worker in master.settled(3) {
        let mut expected = vec![0, 1, 2, given(worker)];
        expected.extend(&listeners);
        until_open(worker, expected);
        let mut open = proc::descriptors(worker);
        assert_eq!(open.remove(&0), Some(PathBuf::from("/dev/null")));
        assert_eq!(open.remove(&1), Some(own[&1].clone()));
        assert_eq!(open.remove(&2), Some(fs::canonicalize(rig.path("log")).unwrap()));
        let is_socket = |target: &PathBuf| target.display().to_string().starts_with("socket:");
        assert!(open.values().all(is_socket), "{open:?}");
    }
}

fn descriptors_that_the_launcher_left_open_are_not_handed_on() {
    let rig = Rig::new();
    let script = "exec 3</dev/null 9</dev/null; test -e /proc/$$/fd/200 && exec \"$@\"";
    let mut command = rig.shell(script, &[&["-b", "127.0.0.1:0"][..], &SLEEPER].concat());
    prepare(&mut command, || {
        fcntl(File::open("/dev/null")?, FcntlArg::F_DUPFD(200))?;
        Ok(())
    });
    let master = rig.launch(command);
    let listener = listeners(&master)[0];
    assert!(![3, 9, 200].contains(&listener));
    until_open(master.settled(1)[0], [0, 1, 2, listener]);
}

fn standard_descriptors_that_were_closed_lead_to_nothing() {
    let rig = Rig::new();
    let script = "exec \"$@\" <&- >&- 2>&-";
    let options = ["-n", "2", "-g", "-b", "127.0.0.1:0"];
    let master = rig.launch(rig.shell(script, &[&options[..], &SLEEPER].concat()));
    let listener = listeners(&master)[0];
    for worker in master.settled(2) {
        until_open(worker, [0, 1, 2, listener, given(worker)]);
        let open = proc::descriptors(worker);
        for number in 0..3 {
            assert_eq!(open[&number], Path::new("/dev/null"), "{open:?}");
        }
    }
}

/// What the launcher of the next test blocks. The master needs all but the last one.
const BLOCKED: [Signal; 4] = [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGUSR1, Signal::SIGWINCH];

fn the_mask_is_the_original_one_and_every_disposition_the_default() {
    let rig = Rig::new();
    let mut command = rig.einhorn(&SLEEPER);
    prepare(&mut command, || {
        // The kernel's `struct sigaction` with SIG_IGN: libc's wrapper refuses signals 32 and 33.
        let ignore = [libc::SIG_IGN, 0, 0, 0];
        for number in 1..=64usize {
            // SAFETY: the kernel reads the four words of `ignore`; ignoring a signal runs no code.
            // Signals that cannot be ignored are refused.
            unsafe { libc::syscall(libc::SYS_rt_sigaction, number, &ignore, 0usize, 8usize) };
        }
        Ok(SigSet::from_iter(BLOCKED).thread_set_mask()?)
    });
    let mut master = rig.launch(command);
    let worker = master.settled(1)[0];
    let blocked: u64 = BLOCKED.iter().map(|signal| 1 << (*signal as u64 - 1)).sum();
    assert_eq!(proc::signal_set(worker, "SigBlk"), blocked);
    assert_eq!(proc::signal_set(worker, "SigIgn"), 0);
    assert_eq!(proc::signal_set(worker, "SigCgt"), 0);
    // And the master hears what its launcher blocked or ignored.
    send(worker, Signal::SIGKILL);
    master.until_logged("killed by SIGKILL");
    master.settled(1);
    master.signal(Signal::SIGTERM);
    master.until_logged("Received SIGTERM");
    master.signal(Signal::SIGINT);
    assert!(master.ended().success());
}

fn workers_of_a_master_under_nohup_can_be_hung_up() {
    let rig = Rig::new();
    let mut command = rig.command("nohup");
    command.arg(env!("CARGO_BIN_EXE_einhorn")).args(SLEEPER).stdout(Stdio::null());
    let master = rig.launch(command);
    send(master.settled(1)[0], Signal::SIGHUP);
    master.until_logged("killed by SIGHUP");
}

fn limit_folder_and_umask_are_the_original_ones_and_the_group_its_own() {
    let rig = Rig::new();
    let mut command = rig.shell("ulimit -Sn 64; umask 027; exec \"$@\"", &SLEEPER);
    // Whoever runs the tests may sit at a terminal, where workers have sessions of their own.
    prepare(&mut command, || Ok(nix::unistd::setsid().map(drop)?));
    let master = rig.launch(command);
    let worker = master.settled(1)[0];
    let (_, hard) = proc::open_files(std::process::id().cast_signed());
    assert_eq!(proc::open_files(master.pid()), (hard, hard));
    assert_eq!(proc::open_files(worker), (64, hard));
    assert_eq!(proc::status(worker, "Umask"), "0027");
    let folder = fs::read_link(format!("/proc/{worker}/cwd")).unwrap();
    assert_eq!(folder, fs::canonicalize(rig.path("")).unwrap());
    let stat = proc::stat(worker).unwrap();
    assert_eq!((stat.parent, stat.group), (master.pid(), worker));
    assert_eq!(stat.session, proc::stat(master.pid()).unwrap().session);
}

fn a_thousand_workers_run_and_stop() {
    let rig = Rig::new();
    let options = ["-n", "1000", "-g"];
    let script = "ulimit -Sn 64; exec \"$@\"";
    let mut master = rig.launch(rig.shell(script, &[&options[..], &SLEEPER].concat()));
    master.settled(1000);
    let answer = master.say("set_workers", &["1002"]);
    assert!(answer.contains("1000 -> 1002"), "{answer}");
    let pids = master.settled(1002);
    assert_eq!(pids.iter().collect::<BTreeSet<_>>().len(), 1002);
    let indexes: BTreeSet<u64> = master.workers().iter().map(|worker| worker.index).collect();
    assert!(indexes.into_iter().eq(0..1002));
    for pid in [pids[0], pids[1001]] {
        assert_eq!(proc::open_files(pid).0, 64);
    }
    master.signal(Signal::SIGTERM);
    assert!(master.ended().success());
    assert_eq!(rig.processes(), []);
}
