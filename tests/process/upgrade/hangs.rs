//! Candidates and wrappers that take their time or never end: the loop lives on, and nothing waits
//! for ever.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::before_and_after::Snapshot;
use crate::support::releases::{THIS, answers, ask, next, reexec_count, script, start_wrapped};
use crate::support::rig::{Master, Rig, has, send};
use crate::support::{proc, wait};
use crate::upgrade::wrappers::{another, let_go, reloads, until_wrapper_runs};

crate::tests![
    a_stop_ends_a_check_that_hangs,
    the_loop_answers_during_a_slow_check,
    a_check_that_hangs_is_ended_with_all_that_it_started,
    a_wrapper_that_hangs_in_the_masters_place_is_ended_by_the_alarm,
    no_alarm_is_left_behind,
    the_alarm_is_set_for_the_wrapper,
];

fn a_stop_ends_a_check_that_hangs() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT] {
        let rig = Rig::new();
        script(&rig, "wrapper", "#!/bin/sh\nulimit -c 0\n: > running\nsleep 1000\n");
        let mut master = start_wrapped(&rig, "wrapper", &["-n", "2"]);
        master.settled(2);
        let mut client = until_wrapper_runs(&rig);
        let begun = Instant::now();
        master.signal(signal);
        let quits = signal == Signal::SIGQUIT;
        assert_eq!(master.ended().code(), Some(i32::from(quits)), "{}", rig.log());
        assert!(begun.elapsed() < Duration::from_secs(5));
        if !quits {
            let last = answers(&rig, &mut client).pop().unwrap();
            assert!(last.contains("given up: the master is going down"), "{last}");
        }
        let look = || rig.processes().is_empty().then_some(());
        wait::until_some("nothing is left", look, || format!("{:?}", rig.processes()));
        assert_eq!(rig.log().matches("Launched").count(), 2, "{}", rig.log());
    }
}

fn the_loop_answers_during_a_slow_check() {
    let rig = Rig::new();
    let text = "#!/bin/sh\n: > running\n\
                while [ ! -e go ]; do sleep 0.02; done\nexec EINHORN \"$@\"\n";
    script(&rig, "wrapper", text);
    let master = start_wrapped(&rig, "wrapper", &["-n", "2"]);
    let workers = master.settled(2);
    let mut client = until_wrapper_runs(&rig);
    // One that comes meanwhile joins; the answers to others come at once.
    let mut second = ask(&rig, "reload");
    let mut slowest = Duration::ZERO;
    for _ in 0..50 {
        let begun = Instant::now();
        assert_eq!(master.workers().len(), 2);
        slowest = slowest.max(begun.elapsed());
    }
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    // What happens meanwhile is known to the next image.
    send(workers[0], Signal::SIGKILL);
    let worker = another(&master, &workers);
    let_go(&rig);
    for client in [&mut client, &mut second] {
        assert!(answers(&rig, client).pop().unwrap().starts_with("Reload done"));
    }
    let after = master.settled(2);
    assert!(after.contains(&worker) && after.contains(&workers[1]), "{}", rig.log());
    assert_eq!(reexec_count(&rig), 1);
}

/// A master whose deadlines are a few seconds: only builds for tests have that.
fn start_impatient(rig: &Rig) -> Master<'_> {
    let wrapper = rig.path("wrapper").display().to_string();
    let mut command = rig.command(next());
    command.args(["-n", "2", "-m", "0", "--reexec-as", &wrapper, "sleep", "1000"]);
    rig.launch(command)
}

fn a_check_that_hangs_is_ended_with_all_that_it_started() {
    let rig = Rig::new();
    script(&rig, "wrapper", "#!/bin/sh\necho thinking\nsleep 1001 &\nsleep 1002\n");
    let master = start_impatient(&rig);
    master.settled(2);
    let before = Snapshot::of(&master);
    let answer = master.say("reload", &[]);
    let told = "Not upgrading: the new release took longer than 5s to check itself";
    assert!(answer.starts_with(told) && answer.contains("thinking"), "{answer}");
    before.assert_kept(&master);
    let look = || (rig.processes().len() == 3).then_some(());
    wait::until_some("nothing of it is left", look, || format!("{:?}", rig.processes()));
    script(&rig, "wrapper", "#!/bin/sh\nexec EINHORN \"$@\"\n");
    reloads(&master);
}

fn a_wrapper_that_hangs_in_the_masters_place_is_ended_by_the_alarm() {
    for shell in ["dash", "bash"].into_iter().filter(|shell| has(shell)) {
        let rig = Rig::new();
        let text = format!(
            "#!/usr/bin/env {shell}\n[ \"$1\" = --upgrade-check ] || sleep 1000\n\
             exec EINHORN \"$@\"\n"
        );
        script(&rig, "wrapper", &text);
        let mut master = start_impatient(&rig);
        let workers = master.settled(2);
        let _client = ask(&rig, "reload");
        let ended = master.ended();
        assert_eq!(ended.signal(), Some(Signal::SIGALRM as i32), "{}", rig.log());
        // Who serves goes on serving.
        assert!(workers.iter().all(|worker| !proc::has_ended(*worker)));
    }
}

fn no_alarm_is_left_behind() {
    let rig = Rig::new();
    let good = format!("#!/bin/sh\ntrue; exec {} \"$@\"\n", next().display());
    script(&rig, "wrapper", &good);
    let master = start_impatient(&rig);
    let workers = master.settled(2);
    reloads(&master);
    let spoiled = good.replace("true;", "rm \"$0\";");
    script(&rig, "wrapper", &spoiled);
    let answer = master.say("reload", &[]);
    assert!(answer.starts_with("Could not upgrade"), "{answer}");
    // One that was left on would ring after five seconds, and the log would tell of it.
    wait::throughout(Duration::from_secs(6), || assert!(!rig.log().contains("ALRM")));
    assert_eq!(master.settled(2), workers);
}

fn the_alarm_is_set_for_the_wrapper() {
    let rig = Rig::new();
    script(&rig, "wrapper", "#!/bin/sh\ntrue; exec EINHORN \"$@\"\n");
    let master = start_wrapped(&rig, "wrapper", &["-n", "1"]);
    master.settled(1);
    reloads(&master);
    // A script that asks for what is left of it, in the master's place.
    let perl = format!(
        "#!/usr/bin/env perl\nif ($ARGV[0] eq '--with-state-fd') {{\n\
         my $left = alarm 0; open(my $f, '>', 'left'); print $f $left; close $f; alarm $left; }}\n\
         exec '{THIS}', @ARGV;\n"
    );
    if !has("perl") {
        return;
    }
    script(&rig, "wrapper", &perl);
    reloads(&master);
    let left: u32 = fs::read_to_string(rig.path("left")).unwrap().parse().unwrap();
    assert!((1..=60).contains(&left), "{left}");
}
