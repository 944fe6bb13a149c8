//! `--reexec-mode=pinned`: a wrapper runs once, as the candidate, and the master becomes exactly
//! what it has executed.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use einhorn::client::Client;
use nix::sys::signal::Signal;

use crate::support::background::meanwhile;
use crate::support::before_and_after::{Given, Snapshot};
use crate::support::ordinary_user;
use crate::support::other_release::install;
use crate::support::releases::{
    THIS, answers, ask, next, place, reexec_count, script, start_placed,
};
use crate::support::rig::{Master, Rig, has, send};
use crate::support::{proc, wait};
use crate::upgrade::refusals::while_it_changes;
use crate::upgrade::wrappers::{another, let_go, until_wrapper_runs};

crate::tests![
    what_a_wrapper_sets_holds_and_it_runs_once,
    a_wrapper_that_fails_costs_nothing,
    a_wrapper_that_hangs_costs_nothing,
    what_was_checked_is_what_runs,
    whatever_a_link_leads_to_what_was_checked_runs,
    a_release_that_cannot_be_pinned_is_refused_by_name,
    what_is_not_the_masters_own_is_refused_by_name,
    a_slow_wrapper_silences_nobody,
    an_exec_that_fails_leaves_everything_as_it_was,
    a_failure_to_adopt_gives_everything_back,
    without_a_wrapper_it_is_harmless,
    a_program_that_changes_after_its_check_is_refused,
    twenty_upgrades_leave_nothing_behind,
    a_ruby_einhorn_is_executed_in_place,
];

/// A master with the wrapper in the rig's folder, and workers that are up at once.
fn start<'a>(rig: &'a Rig, options: &[&str]) -> Master<'a> {
    let wrapper = rig.path("wrapper").display().to_string();
    let ours = ["-n", "2", "-m", "0", "--reexec-mode", "pinned", "--reexec-as", &wrapper];
    rig.launch(rig.einhorn(&[&ours, options, &["sleep", "1000"]].concat()))
}

fn reloads(rig: &Rig, master: &Master<'_>) {
    let answer = master.say("reload", &[]);
    assert!(answer.starts_with("Reload done"), "{answer}\n{}", rig.log());
}

/// How often the wrapper has run: it adds a line each time.
fn runs(rig: &Rig) -> usize {
    fs::read_to_string(rig.path("runs")).unwrap_or_default().lines().count()
}

/// The soft and hard value of a line of `/proc/PID/limits`.
fn limit(pid: i32, name: &str) -> [String; 2] {
    let text = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    let mut words = line.split_whitespace().map(str::to_owned);
    [words.next().unwrap(), words.next().unwrap()]
}

fn what_a_wrapper_sets_holds_and_it_runs_once() {
    let rig = Rig::new();
    let release = rig.subfolder("release");
    let text = "#!/bin/sh\necho run >> runs\ncd \"$TMPDIR/release\" || exit 3\n\
                export RELEASE=two\nexport ODD='=a\nb'\numask 077\nulimit -n 200\nulimit -S -c 0\n\
                ulimit -t 5000\nexec EINHORN \"$@\"\n";
    script(&rig, "wrapper", text);
    let master = start(&rig, &["-b", "127.0.0.1:0"]);
    let before = master.settled(2);
    let (pid, descriptors) = (master.pid(), Snapshot::of(&master).descriptor_count());
    reloads(&rig, &master);
    assert_eq!((runs(&rig), master.pid(), master.settled(2)), (1, pid, before.clone()));
    assert_eq!(reexec_count(&rig), 1);
    assert_eq!(Snapshot::of(&master).descriptor_count(), descriptors);
    send(before[0], Signal::SIGKILL);
    let worker = another(&master, &before);
    for process in [pid, worker] {
        assert_eq!(proc::directory(process), release);
        assert_eq!(proc::status(process, "Umask"), "0077");
        assert_eq!(limit(process, "Max open files"), ["200", "200"]);
        assert_eq!(limit(process, "Max core file size")[0], "0");
        assert_eq!(limit(process, "Max cpu time"), ["5000", "5000"]);
        let environment = proc::environment(process);
        assert!(environment.contains(&"RELEASE=two".into()), "{environment:?}");
        assert!(environment.contains(&"ODD==a\nb".into()), "{environment:?}");
    }
    assert!(!rig.log().contains("ERROR"), "{}", rig.log());
    assert!(!rig.log().contains("which is not in use"), "{}", rig.log());
}

fn a_wrapper_that_fails_costs_nothing() {
    for (text, words) in [
        ("echo no bundle >&2; exit 9\n", ["exit status 9", "no bundle"]),
        ("echo before; exit 0\n", ["without a report", "before"]),
        ("kill -SEGV $$\n", ["SIGSEGV", "printed nothing"]),
        ("EINHORN \"$@\"\n", ["as a child", "`exec`"]),
        (
            "exec EINHORN \"$@\" 2>/dev/null </dev/zero\n",
            ["standard input: /dev/zero instead of /dev/null", "; also standard error"],
        ),
        ("shift; exec EINHORN --upgrade-chec \"$@\"\n", ["cannot be pinned", "command line"]),
    ] {
        let rig = Rig::new();
        script(&rig, "wrapper", &format!("#!/bin/sh\n{SPOILING}{text}"));
        let master = start(&rig, &[]);
        refuses(&rig, &master, &words, THIS);
    }
}

fn a_wrapper_that_hangs_costs_nothing() {
    let rig = Rig::new();
    let text = format!("#!/bin/sh\n{SPOILING}echo thinking; sleep 1001 & sleep 1002\n");
    script(&rig, "wrapper", &text);
    let wrapper = rig.path("wrapper").display().to_string();
    // Builds for tests only are that impatient.
    let next = next().display().to_string();
    let mut command = rig.command(&next);
    command.args(["-n", "2", "-m", "0", "--reexec-mode", "pinned", "--reexec-as", &wrapper]);
    command.args(["sleep", "1000"]);
    let master = rig.launch(command);
    refuses(&rig, &master, &["took longer than 5s", "thinking"], &next);
}

/// What a wrapper sets before it fails.
const SPOILING: &str = "umask 077; cd /; ulimit -n 200; export RELEASE=two\n";

/// An upgrade is refused in these words, changes nothing, and works with a good wrapper.
fn refuses(rig: &Rig, master: &Master<'_>, words: &[&str], release: &str) {
    let workers = master.settled(2);
    let before = Snapshot::of(master);
    let answer = master.say("upgrade", &[]);
    assert!(answer.starts_with("Not upgrading: "), "{answer}");
    for word in words {
        assert!(answer.contains(word), "{answer}");
    }
    before.assert_kept(master);
    assert_eq!(master.settled(2), workers);
    script(rig, "wrapper", &format!("#!/bin/sh\nexec {release} \"$@\"\n"));
    reloads(rig, master);
}

fn what_was_checked_is_what_runs() {
    let rig = Rig::new();
    install(&rig, Path::new(THIS), "m");
    // The link that it was executed through leads nowhere by the time that the master executes.
    let text = "#!/bin/sh\ntarget=$(readlink m)\nln -s nowhere m.new\nmv -T m.new m\nrm \"$0\"\n\
                exec \"$target\" \"$@\"\n";
    script(&rig, "wrapper", text);
    let master = start(&rig, &[]);
    let workers = master.settled(2);
    reloads(&rig, &master);
    assert_eq!(master.settled(2), workers);
    assert_eq!(fs::read_link(format!("/proc/{}/exe", master.pid())).unwrap(), Path::new(THIS));
}

fn whatever_a_link_leads_to_what_was_checked_runs() {
    let rig = Rig::new();
    install(&rig, Path::new(THIS), "m");
    script(&rig, "wrapper", "#!/bin/sh\nexec ./m \"$@\"\n");
    let master = start(&rig, &[]);
    let workers = master.settled(2);
    let is_done = AtomicBool::new(false);
    let mut releases = BTreeSet::new();
    // It may have to be built first.
    next();
    meanwhile(&master, |scope| {
        let flips = scope.spawn(|| {
            for release in [next(), Path::new(THIS)].into_iter().cycle() {
                install(&rig, release, "m");
                wait::as_told(Duration::from_millis(10));
                // The master is killed when the test fails.
                if is_done.load(Ordering::Relaxed) || proc::has_ended(master.pid()) {
                    return;
                }
            }
        });
        for _ in 0..30 {
            let messages = answers(&rig, &mut ask(&rig, "reload"));
            let told = messages.iter().find_map(|told| told.strip_suffix(CHECKED)).unwrap();
            let done = messages.last().unwrap().strip_prefix("Reload done: ").unwrap();
            assert_eq!(told, done, "{messages:?}");
            releases.insert(done.to_owned());
        }
        is_done.store(true, Ordering::Relaxed);
        flips.join().unwrap();
    });
    assert_eq!(releases.len(), 2, "{releases:?}");
    assert_eq!(master.settled(2), workers);
}

/// What is told of a release that has been checked, after its name.
const CHECKED: &str = " can take over; handing over to it";

/// A candidate that says it can take over, as a release that reads this format would.
fn other_release(format: u16) -> String {
    format!(
        "#!/usr/bin/env python3\nimport os, struct, sys\n\
         state = int(sys.argv[sys.argv.index('--with-state-fd') + 1])\n\
         report = struct.unpack_from('<i', os.pread(state, 36, 0), 16)[0]\n\
         text = 'einhorn-candidate 1\\npid=%d\\nrelease=0.0.9\\nformat={format}\\n' % os.getpid()\n\
         os.write(report, (text + 'adopted=yes\\n').encode())\n"
    )
}

fn a_release_that_cannot_be_pinned_is_refused_by_name() {
    if !has("python3") {
        return;
    }
    let rig = Rig::new();
    script(&rig, "wrapper", &other_release(2));
    let master = start(&rig, &[]);
    refuses(&rig, &master, &["einhorn 0.0.9 reads a state of format 2"], THIS);
    script(&rig, "wrapper", &other_release(1));
    let words = "einhorn 0.0.9 cannot be pinned: it does not tell how it was executed";
    refuses(&rig, &master, &[words], THIS);
}

/// Whether a command may be run here; says so when it may not.
fn may(words: &[&str]) -> bool {
    let tried = std::process::Command::new(words[0]).args(&words[1..]).arg("true").output();
    let is_done = tried.is_ok_and(|output| output.status.success());
    if !is_done {
        println!("skipped: {words:?} is not permitted here");
    }
    is_done
}

/// What only root can change.
const OF_ROOT: [(&[&str], &[&str]); 6] = [
    (&["setpriv", "--bounding-set", "-net_raw"], &["CapPrm: ", "; also CapEff, CapBnd"]),
    (&["setpriv", "--regid", "1", "--clear-groups"], &["Gid: 1 1 1 1 instead of 0 0 0 0"]),
    (&["setpriv", "--reuid", "1", "--clear-groups"], &["user 1, and the master as user 0"]),
    (&["unshare", "-u"], &["the namespace uts: uts:[", "] instead of uts:["]),
    (&["unshare", "-n"], &["the namespace net: net:["]),
    (&["unshare", "-p"], &["the namespace pid_for_children: "]),
];

fn what_is_not_the_masters_own_is_refused_by_name() {
    let rig = Rig::new();
    script(&rig, "wrapper", "#!/bin/sh\nexec EINHORN \"$@\"\n");
    let master = start(&rig, &[]);
    let workers = master.settled(2);
    let before = Snapshot::of(&master);
    let nice = proc::stat(master.pid()).unwrap().nice;
    let nice = format!("nice: {} instead of {nice}", (nice + 3).min(19));
    let nice = [nice.as_str()];
    // A change is what the wrapper puts before einhorn, and the words of the refusal.
    let mut changes: Vec<(&[&str], &[&str])> = vec![
        (&["setpriv", "--no-new-privs"], &["NoNewPrivs: 1 instead of 0"]),
        (&["nice", "-n", "3"], &nice),
        (&["setarch", "-R"], &["personality: "]),
    ];
    if ordinary_user::needs_root() {
        changes.extend(OF_ROOT);
    }
    for (change, words) in changes.into_iter().filter(|(change, _)| may(change)) {
        let text = format!("#!/bin/sh\nexec {} EINHORN \"$@\"\n", change.join(" "));
        script(&rig, "wrapper", &text);
        let answer = master.say("reload", &[]);
        assert!(answer.starts_with("Not upgrading: "), "{answer}");
        let is_named = answer.contains("cannot be pinned: the wrapper changes ");
        assert!(is_named || words[0].starts_with("user"), "{answer}");
        for word in words {
            assert!(answer.contains(word), "{change:?}: {answer}");
        }
    }
    before.assert_kept(&master);
    assert_eq!(master.settled(2), workers);
    assert_eq!(reexec_count(&rig), 0);
}

fn a_slow_wrapper_silences_nobody() {
    let rig = Rig::new();
    // It waits each time that it runs, and goes on once.
    let text = "#!/bin/sh\n: > running\nuntil [ -e go ]; do sleep 0.02; done\nrm go\n\
                exec EINHORN \"$@\"\n";
    script(&rig, "wrapper", text);
    let master = start(&rig, &[]);
    let workers = master.settled(2);
    let mut client = until_wrapper_runs(&rig);
    let mut slowest = Duration::ZERO;
    for _ in 0..50 {
        let begun = Instant::now();
        assert_eq!(master.settled(2), workers);
        slowest = slowest.max(begun.elapsed());
    }
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    let_go(&rig);
    let last = answers(&rig, &mut client).pop().unwrap();
    assert!(last.starts_with("Reload done"), "{last}");
    assert_eq!(master.settled(2), workers);
}

/// Sets what cannot all be set back by an ordinary user once it was lowered.
const CHANGES: &str = "cd /\numask 027\nulimit -n 300\nulimit -S -c 0\nulimit -t 5000\n\
                       export RELEASE=two\n";

/// A pinned master of an ordinary user.
fn start_ordinary<'a>(rig: &'a Rig, variables: &[(&str, &str)]) -> Master<'a> {
    let wrapper = rig.path("wrapper").display().to_string();
    let options =
        ["-n", "2", "-m", "0", "--reexec-mode", "pinned", "--reexec-as", &wrapper, "sleep", "1000"];
    let mut command = ordinary_user::command(rig, THIS, &options);
    command.envs(variables.iter().copied());
    rig.launch(command)
}

fn an_exec_that_fails_leaves_everything_as_it_was() {
    if !has("python3") {
        return;
    }
    let rig = Rig::new();
    // Fills the room that there is for arguments and environment, a quarter of the stack, until
    // einhorn can just be executed: the hand-over has longer arguments than the check.
    let text = "#!/usr/bin/env python3
import os, resource, sys
os.chdir('/'); os.umask(0o27)
resource.setrlimit(resource.RLIMIT_NOFILE, (300, 300))
resource.setrlimit(resource.RLIMIT_STACK, (1 << 20, resource.getrlimit(resource.RLIMIT_STACK)[1]))
words = ['einhorn'] + sys.argv[1:]
taken = sum(len(name) + len(value) + 10 for name, value in os.environ.items())
taken += sum(len(word) + 9 for word in words)
room = (1 << 18) - taken
for size in range(room, room - 4096, -8):
    parts = {'A': 'x' * 100000, 'B': 'x' * 100000, 'C': 'x' * (size - 200000)}
    try:
        os.execve('EINHORN', words, {**os.environ, **parts})
    except OSError as error:
        if error.errno != 7: raise
";
    script(
        &rig,
        "wrapper",
        &text.replace("EINHORN", &format!("{}/einhorn", rig.path("").display())),
    );
    let master = start_ordinary(&rig, &[]);
    let workers = master.settled(2);
    let before = Snapshot::of(&master);
    let answer = master.say("reload", &[]);
    assert!(answer.starts_with("Could not upgrade, and went on as before: "), "{answer}");
    assert!(answer.contains("/einhorn: Argument list too long"), "{answer}");
    before.assert_kept(&master);
    assert_eq!(master.settled(2), workers);
    script(&rig, "wrapper", "#!/bin/sh\nexec ./einhorn \"$@\"\n");
    reloads(&rig, &master);
}

fn a_failure_to_adopt_gives_everything_back() {
    for step in ["decode", "identity", "workers", "build", "panic"] {
        let rig = Rig::new();
        let next = place(&rig, next(), "next").display().to_string();
        script(&rig, "wrapper", &format!("#!/bin/sh\n{CHANGES}exec {next} \"$@\"\n"));
        let master = start_ordinary(&rig, &[("EINHORN_TEST_FAIL_ADOPT", step)]);
        let workers = master.settled(2);
        let given = Given::to(workers[0]);
        let (before, environment) = (Snapshot::of(&master), proc::environment(master.pid()));
        let answer = master.say("upgrade", &[]);
        let told = "Rolled back, this release goes on: the new one could not take over: ";
        assert!(answer.starts_with(told), "{answer}");
        before.assert_kept(&master);
        assert_eq!(proc::environment(master.pid()), environment);
        assert_eq!(master.settled(2), workers);
        send(workers[0], Signal::SIGKILL);
        assert_eq!(Given::to(another(&master, &workers)), given);
        let good = format!("#!/bin/sh\n{CHANGES}exec ./einhorn \"$@\"\n").replace("cd /\n", "");
        script(&rig, "wrapper", &good);
        reloads(&rig, &master);
        assert_eq!(limit(master.pid(), "Max open files"), ["300", "300"]);
        assert_eq!(limit(master.pid(), "Max cpu time"), ["5000", "5000"]);
        assert!(!rig.log().contains("ERROR: Cannot"), "{}", rig.log());
    }
}

fn without_a_wrapper_it_is_harmless() {
    let rig = Rig::new();
    let master = start_placed(&rig, &["-n", "2", "-m", "0", "--reexec-mode", "pinned"], &["wait"]);
    let workers = master.settled(2);
    reloads(&rig, &master);
    let (before, environment) = (Snapshot::of(&master), proc::environment(master.pid()));
    for _ in 0..2 {
        reloads(&rig, &master);
        before.assert_kept(&master);
    }
    assert_eq!(proc::environment(master.pid()), environment);
    place(&rig, next(), "m");
    let answer = master.say("reload", &[]);
    assert!(answer.starts_with("Reload done") && answer.contains("-next"), "{answer}");
    assert_eq!(master.settled(2), workers);
}

fn a_program_that_changes_after_its_check_is_refused() {
    let rig = Rig::new();
    place(&rig, Path::new(THIS), "m");
    script(&rig, "wrapper", "#!/bin/sh\nexec ./m \"$@\"\n");
    let master = start(&rig, &[]);
    let refused = while_it_changes(&master, &rig.path("m"));
    let told = format!("{} was written to after it was checked", rig.path("m").display());
    assert!(refused.contains(&told), "{refused}");
    reloads(&rig, &master);
}

fn twenty_upgrades_leave_nothing_behind() {
    let rig = Rig::new();
    script(&rig, "wrapper", "#!/bin/sh\necho run >> runs\nulimit -n 300\nexec EINHORN \"$@\"\n");
    let master = start(&rig, &["-b", "127.0.0.1:0"]);
    let workers = master.settled(2);
    reloads(&rig, &master);
    let (before, environment) = (Snapshot::of(&master), proc::environment(master.pid()));
    for _ in 0..20 {
        reloads(&rig, &master);
    }
    before.assert_kept(&master);
    assert_eq!(proc::environment(master.pid()), environment);
    assert_eq!((runs(&rig), reexec_count(&rig)), (21, 21));
    assert_eq!(master.settled(2), workers);
}

fn a_ruby_einhorn_is_executed_in_place() {
    let rig = Rig::new();
    let text = "#!/bin/sh\n[ \"$1\" = --upgrade-check ] || { echo $$ > in-place; exit 0; }\n\
                echo \"[MASTER $$] INFO: Running under Ruby 3.2\"\n";
    script(&rig, "wrapper", text);
    let mut master = start(&rig, &[]);
    master.settled(2);
    let refused = master.say("reload", &[]);
    assert!(refused.contains("to hand back to one"), "{refused}");
    let line = "{\"command\": \"reload\", \"args\": [\"--to-ruby\"], \"id\": 1}";
    let mut client = Client::connect(&rig.socket()).unwrap();
    client.send_line(line).unwrap();
    assert!(master.ended().success());
    let pid = fs::read_to_string(rig.path("in-place")).unwrap();
    assert_eq!(pid.trim(), master.pid().to_string());
}
