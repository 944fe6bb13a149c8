//! Scripts that run in the master's place, by `--reexec-as`: shells and interpreters, and what they
//! do to signals, children, descriptors and limits.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::before_and_after::{Given, Snapshot};
use crate::support::releases::{answers, ask, reexec_count, script, start_wrapped};
use crate::support::rig::{Master, Rig, has, send};
use crate::support::{proc, wait};

crate::tests![
    every_interpreter_passes_everything_on,
    a_status_that_a_wrapper_has_stolen_is_told_all_the_same,
    a_worker_that_ends_while_a_wrapper_runs_is_replaced_at_once,
    terminating_signals_never_end_a_master_while_a_wrapper_runs,
    a_stop_that_comes_before_the_wrapper_is_not_forgotten,
    what_a_wrapper_leaves_running_is_no_worker,
    a_wrapper_without_exec_is_refused,
    a_wrapper_that_closes_or_swaps_descriptors_is_refused,
    a_wrapper_that_leaves_too_few_descriptors_is_refused,
    a_wrapper_that_fails_is_refused_with_its_last_words,
    what_a_wrapper_sets_is_what_new_workers_get,
    masks_and_dispositions_do_not_leak_into_workers,
];

/// The interpreters, each with a way to write the same script.
const SHELLS: [&str; 2] = ["dash", "bash"];

/// A wrapper that runs a command, then waits in the master's place until a file is there.
pub(crate) fn waiting(shell: &str) -> String {
    format!(
        "#!/usr/bin/env {shell}\n\
         if [ \"$1\" = --with-state-fd ]; then\n\
         : > running; i=0\n\
         until [ -e go ] || [ $i -ge 600 ]; do sleep 0.02; i=$((i+1)); done\n\
         rm -f go running\n\
         fi\n\
         exec EINHORN \"$@\"\n"
    )
}

/// The same in a language that reaps no children that are not its own.
const WAITING_PYTHON: &str = "#!/usr/bin/env python3
import os, sys, time
if sys.argv[1] == '--with-state-fd':
    open('running', 'w').close()
    for _ in range(600):
        if os.path.exists('go'): break
        time.sleep(0.02)
    os.remove('go'); os.remove('running')
os.execv('EINHORN', ['einhorn'] + sys.argv[1:])
";

/// Starts a reload and waits until the wrapper runs in the master's place.
pub(crate) fn until_wrapper_runs(rig: &Rig) -> einhorn::client::Client {
    let client = ask(rig, "reload");
    let look = || rig.path("running").exists().then_some(());
    wait::until_some("the wrapper runs", look, || rig.log());
    client
}

pub(crate) fn let_go(rig: &Rig) {
    fs::write(rig.path("go"), "").unwrap();
}

pub(crate) fn reloads(master: &Master<'_>) {
    let answer = master.say("reload", &[]);
    assert!(answer.starts_with("Reload done"), "{answer}");
}

fn every_interpreter_passes_everything_on() {
    let run_first = |shell: &str| format!("#!/usr/bin/env {shell}\ntrue; exec EINHORN \"$@\"\n");
    let background =
        |shell: &str| format!("#!/usr/bin/env {shell}\nsleep 0.05 & wait\nexec EINHORN \"$@\"\n");
    let only = |shell: &str| format!("#!/usr/bin/env {shell}\nexec EINHORN \"$@\"\n");
    let python = "#!/usr/bin/env python3\nimport os, sys, subprocess\n\
                  subprocess.run(['true'])\n\
                  os.execv('EINHORN', ['einhorn'] + sys.argv[1:])\n";
    let mut texts = vec!["#!/usr/bin/env -S FOO=bar EINHORN\n".to_owned()];
    for shell in SHELLS.into_iter().filter(|shell| has(shell)) {
        texts.extend([only(shell), run_first(shell), background(shell)]);
    }
    if has("python3") {
        texts.push(python.to_owned());
    }
    if has("ruby") {
        texts.push("#!/usr/bin/env ruby\nexec 'EINHORN', *ARGV, close_others: false\n".to_owned());
    }
    for text in texts {
        let rig = Rig::new();
        // env(1) hands its script's path on as the first argument; einhorn is not that script.
        let is_env = text.contains("-S");
        script(
            &rig,
            "wrapper",
            if is_env { "#!/bin/sh\nexec env EINHORN \"$@\"\n" } else { &text },
        );
        let master = start_wrapped(&rig, "wrapper", &["-n", "3", "-b", "127.0.0.1:0"]);
        master.settled(3);
        reloads(&master);
        let before = Snapshot::of(&master);
        for _ in 0..2 {
            reloads(&master);
            before.assert_kept(&master);
        }
        assert_eq!(reexec_count(&rig), 3, "{}", rig.log());
    }
}

/// What a worker does that ends in two ways.
fn stolen(text: &str, is_stolen: bool) {
    let rig = Rig::new();
    script(&rig, "wrapper", text);
    let wrapper = rig.path("wrapper").display().to_string();
    let mut command = rig.einhorn(&["-n", "3", "-m", "0", "--reexec-as", &wrapper]);
    command.args(["sh", "-c", "trap 'exit 40' USR1; while :; do sleep 0.01; done"]);
    let mut master = rig.launch(command);
    let workers = master.settled(3);
    // The traps are set as soon as the first sleep runs.
    for worker in &workers {
        master.until("it sleeps", || (!proc::children(*worker).is_empty()).then_some(()));
    }
    let mut client = until_wrapper_runs(&rig);
    send(workers[0], Signal::SIGUSR1);
    send(workers[1], Signal::SIGKILL);
    let gone = |pid: i32| if is_stolen { proc::stat(pid).is_none() } else { proc::has_ended(pid) };
    let look = || (gone(workers[0]) && gone(workers[1])).then_some(());
    wait::until_some("both are gone", look, || rig.log());
    let_go(&rig);
    assert!(answers(&rig, &mut client).pop().unwrap().starts_with("Reload done"));
    master.until_logged_times(2, "Exited worker");
    let after = master.settled(3);
    assert!(after.contains(&workers[2]) && !after.contains(&workers[0]), "{}", rig.log());
    let log = rig.log();
    for (worker, told) in [(workers[0], "exit status 40"), (workers[1], "killed by SIGKILL")] {
        assert_eq!(log.matches(&format!("Exited worker {worker}")).count(), 1, "{log}");
        let line = log.lines().find(|line| line.contains(&format!("Exited worker {worker}")));
        let is_told = line.is_some_and(|line| {
            line.contains(told) || !tells_of_the_reaped() && line.contains("status unknown")
        });
        assert!(is_told && (is_stolen || !log.contains("unknown")), "{log}");
    }
    master.signal(Signal::SIGTERM);
    assert!(master.ended().success());
}

/// Whether Linux tells how a process ended that somebody else has reaped: since 6.15.
fn tells_of_the_reaped() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap(), numbers.next().unwrap_or(0)) >= (6, 15)
}

fn a_status_that_a_wrapper_has_stolen_is_told_all_the_same() {
    for shell in SHELLS.into_iter().filter(|shell| has(shell)) {
        stolen(&waiting(shell), true);
    }
}

fn a_worker_that_ends_while_a_wrapper_runs_is_replaced_at_once() {
    if has("python3") {
        stolen(WAITING_PYTHON, false);
    }
}

fn terminating_signals_never_end_a_master_while_a_wrapper_runs() {
    let python = has("python3").then(|| ("python3", WAITING_PYTHON.to_owned()));
    let shells = SHELLS.into_iter().filter(|shell| has(shell));
    for (shell, text) in shells.map(|shell| (shell, waiting(shell))).chain(python) {
        let signals =
            [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGUSR2];
        for signal in signals.into_iter().chain([Signal::SIGUSR1]) {
            let rig = Rig::new();
            script(&rig, "wrapper", &text);
            let mut master = start_wrapped(&rig, "wrapper", &["-n", "2"]);
            master.settled(2);
            let mut client = until_wrapper_runs(&rig);
            master.signal(signal);
            let_go(&rig);
            assert!(answers(&rig, &mut client).pop().unwrap().starts_with("Reload done"));
            // dash clears the mask, so that what is ignored is lost; bash that runs a command
            // ignores these two anew, which throws them away. The others stay pending.
            let is_lost = shell == "dash"
                || shell == "bash" && matches!(signal, Signal::SIGINT | Signal::SIGQUIT);
            let stops = !is_lost && !matches!(signal, Signal::SIGHUP | Signal::SIGUSR1);
            if !stops {
                if signal == Signal::SIGHUP && !is_lost {
                    master.until_logged("Received SIGHUP");
                }
                master.settled(2);
                master.signal(Signal::SIGTERM);
            }
            let quits = stops && signal == Signal::SIGQUIT;
            let ended = master.ended().code();
            assert_eq!(ended, Some(i32::from(quits)), "{shell} {signal}\n{}", rig.log());
        }
    }
}

fn a_stop_that_comes_before_the_wrapper_is_not_forgotten() {
    // In a moment that cannot be hit but often: after the last look at signals, before the exec.
    let shell = "#!/usr/bin/env bash\nexec EINHORN \"$@\"\n";
    if !has("bash") {
        return;
    }
    for round in 0..20u32 {
        let rig = Rig::new();
        script(&rig, "wrapper", shell);
        let mut master = start_wrapped(&rig, "wrapper", &["-n", "1"]);
        master.settled(1);
        let _client = ask(&rig, "reload");
        let look = || rig.log().contains("handing over to it").then_some(());
        wait::spinning("it hands over", look);
        wait::moment(Instant::now() + Duration::from_micros(u64::from(round) * 100));
        master.signal(Signal::SIGTERM);
        assert_eq!(master.ended().code(), Some(0), "{}", rig.log());
    }
}

fn what_a_wrapper_leaves_running_is_no_worker() {
    let rig = Rig::new();
    script(&rig, "wrapper", "#!/bin/sh\nsleep 0.3 >/dev/null 2>&1 &\nexec EINHORN \"$@\"\n");
    let mut master = start_wrapped(&rig, "wrapper", &["-n", "2"]);
    let workers = master.settled(2);
    reloads(&master);
    master.until("the stranger is reaped", || {
        (proc::children(master.pid()).len() == 2).then_some(())
    });
    assert_eq!(master.settled(2), workers);
    assert!(!rig.log().contains("ERROR"), "{}", rig.log());
    master.signal(Signal::SIGTERM);
    assert!(master.ended().success());
}

fn a_wrapper_without_exec_is_refused() {
    for text in ["#!/bin/sh\nEINHORN \"$@\"\n", "#!/bin/sh\nEINHORN \"$@\"; exit 0\n"] {
        let rig = Rig::new();
        script(&rig, "wrapper", text);
        let master = start_wrapped(&rig, "wrapper", &["-n", "2"]);
        refused(&rig, &master, &["as a child", "`exec`"]);
    }
}

/// A reload is refused in these words, changes nothing, and works with a good wrapper.
fn refused(rig: &Rig, master: &Master<'_>, words: &[&str]) {
    master.settled(2);
    let before = Snapshot::of(master);
    let answer = master.say("reload", &[]);
    assert!(answer.starts_with("Not upgrading: "), "{answer}");
    for word in words {
        assert!(answer.contains(word), "{answer}");
    }
    before.assert_kept(master);
    assert!(rig.log().contains(words[0]), "{}", rig.log());
    script(rig, "wrapper", "#!/bin/sh\nexec EINHORN \"$@\"\n");
    reloads(master);
    assert_eq!(reexec_count(rig), 1);
}

fn a_wrapper_that_closes_or_swaps_descriptors_is_refused() {
    let all = "exec 3<&- 4<&- 5<&- 6<&- 7<&- 8<&- 9<&-";
    let swapped = "exec 3</dev/null 4</dev/null 5</dev/null 6</dev/null";
    for line in [all, swapped] {
        let rig = Rig::new();
        script(&rig, "wrapper", &format!("#!/bin/sh\n{line}\nexec EINHORN \"$@\"\n"));
        let master = start_wrapped(&rig, "wrapper", &["-n", "2", "-b", "127.0.0.1:0"]);
        refused(&rig, &master, &["Not upgrading"]);
    }
}

fn a_wrapper_that_leaves_too_few_descriptors_is_refused() {
    let rig = Rig::new();
    script(&rig, "wrapper", "#!/bin/sh\nulimit -n 12\nexec EINHORN \"$@\"\n");
    let master = start_wrapped(&rig, "wrapper", &["-n", "2"]);
    refused(&rig, &master, &["the limit of open files is 12 here"]);
}

fn a_wrapper_that_fails_is_refused_with_its_last_words() {
    for (text, words) in [
        ("#!/bin/sh\necho no bundle >&2; exit 9\n", ["exit status 9", "no bundle"]),
        ("#!/bin/sh\necho before; exit 0\n", ["without a report", "before"]),
        ("#!/bin/sh\nkill -SEGV $$\n", ["SIGSEGV", "printed nothing"]),
        ("#!/bin/sh\ncd missing && exec EINHORN \"$@\"\n", ["exit status 2", "missing"]),
        // The original's fixture looks for one of the words at another time than the check.
        (
            "#!/bin/sh\nfor w; do [ \"$w\" != --with-state-fd ] || exit 9; done\nexec EINHORN\n",
            ["exit status 9", "printed nothing"],
        ),
    ] {
        let rig = Rig::new();
        script(&rig, "wrapper", text);
        let master = start_wrapped(&rig, "wrapper", &["-n", "2"]);
        refused(&rig, &master, &words);
    }
}

/// A worker that is not one of these.
pub(crate) fn another(master: &Master<'_>, known: &[i32]) -> i32 {
    master.until("another worker", || {
        let workers = master.workers();
        workers.iter().map(|w| w.pid).find(|pid| !known.contains(pid))
    })
}

fn what_a_wrapper_sets_is_what_new_workers_get() {
    let rig = Rig::new();
    rig.subfolder("release");
    let text = "#!/bin/sh\ncd \"$HERE/release\" || exit 3\nexport RELEASE=two\numask 077\n\
                ulimit -S -n 200\nexec EINHORN \"$@\"\n";
    script(&rig, "wrapper", text);
    let wrapper = rig.path("wrapper").display().to_string();
    let mut command = rig.einhorn(&["-n", "2", "-m", "0", "--reexec-as", &wrapper]);
    command.args(["sleep", "1000"]).env("HERE", rig.path(""));
    let master = rig.launch(command);
    let before = master.settled(2);
    reloads(&master);
    send(before[0], Signal::SIGKILL);
    let worker = another(&master, &before);
    assert_eq!(fs::read_link(format!("/proc/{worker}/cwd")).unwrap(), rig.path("release"));
    assert_eq!(proc::status(worker, "Umask"), "0077");
    assert!(proc::environment(worker).contains(&"RELEASE=two".into()));
    assert_eq!(proc::open_files(worker).0, 200);
    // The master's own is raised all the same.
    assert_eq!(proc::open_files(master.pid()).0, proc::open_files(master.pid()).1);
    // An environment that was emptied is what counts, too.
    script(&rig, "wrapper", "#!/bin/sh\nexec env -i PATH=\"$PATH\" EINHORN \"$@\"\n");
    reloads(&master);
    send(before[1], Signal::SIGKILL);
    let last = another(&master, &[before[0], before[1], worker]);
    let environment = proc::environment(last);
    let is_ours = |text: &str| text.starts_with("EINHORN_") || text.starts_with("PATH=");
    // What sh sets by itself is no harm.
    let is_shells =
        |text: &str| ["PWD=", "OLDPWD=", "_=", "SHLVL="].iter().any(|n| text.starts_with(n));
    for entry in environment.iter().map(|entry| entry.to_string_lossy()) {
        assert!(is_ours(&entry) || is_shells(&entry), "{entry}");
    }
    // The rig finds what it has to end by its mark or folder; this one has lost the first.
    assert!(rig.processes().iter().any(|pid| pid.as_raw() == last));
}

fn masks_and_dispositions_do_not_leak_into_workers() {
    let python = "#!/usr/bin/env python3\nimport os, sys\nos.execv('EINHORN', sys.argv)\n";
    let mut texts = vec!["#!/bin/sh\ntrap '' HUP PIPE\ntrue; exec EINHORN \"$@\"\n"];
    if has("python3") {
        texts.push(python);
    }
    if has("bash") {
        texts.push("#!/usr/bin/env bash\ntrue; exec EINHORN \"$@\"\n");
    }
    let rig = Rig::new();
    script(&rig, "wrapper", texts[0]);
    let master = start_wrapped(&rig, "wrapper", &["-n", "1", "-b", "127.0.0.1:0"]);
    let mut known = master.settled(1);
    let first = Given::to(known[0]);
    for _ in 0..2 {
        for text in &texts {
            script(&rig, "wrapper", text);
            reloads(&master);
            send(*known.last().unwrap(), Signal::SIGKILL);
            let worker = another(&master, &known);
            let sets = ["SigBlk", "SigIgn", "SigCgt"].map(|set| proc::signal_set(worker, set));
            known.push(worker);
            assert_eq!(Given::to(worker).signals(), first.signals(), "{sets:?}");
        }
    }
}
