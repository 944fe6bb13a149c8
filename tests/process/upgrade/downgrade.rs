//! Between a release and the one after it, which has two facts more in its state: `note`, which no
//! older release may pass over, and `hint`, which one may do without.

use std::fs;
use std::path::Path;

use einhorn::client::Client;
use nix::sys::signal::Signal;

use crate::support::last_line::is_upgraded;
use crate::support::other_release::{install, start_as};
use crate::support::releases::{THIS, answers, ask, next, script};
use crate::support::rig::{Master, Rig, send};
use crate::support::wire::Wire;

crate::tests![
    up_and_down_again_and_again_with_live_workers,
    what_must_not_be_passed_over_is_refused_by_name_on_the_way_down,
    a_release_goes_down_in_a_roll_out_and_names_what_it_skips,
    a_rollback_on_the_way_down_loses_nothing,
];

/// What is logged when the older release has adopted the state.
const SKIPPED: &str = "The state has \"hint\", which einhorn 0.1.0 does not know: it is left out";

const ROUNDS: u64 = 100;

fn up_and_down_again_and_again_with_live_workers() {
    let rig = Rig::new();
    install(&rig, THIS.as_ref(), "einhorn");
    let options = ["-n", "4", "-m", "manual", "-g"];
    let master = start_as(&rig, "einhorn", &options, &["ack-given", "wait"], &[]);
    let workers = master.settled(4);
    let pid = master.pid().to_string();
    for _ in 0..ROUNDS {
        for (path, name) in [(next(), "0.1.0-next"), (Path::new(THIS), "0.1.0")] {
            install(&rig, path, "einhorn");
            assert_eq!(master.say("reload", &[]), format!("Reload done: einhorn {name}"));
            assert!(master.say("ehlo", &[]).contains(&pid));
        }
    }
    assert_eq!(master.settled(4), workers);
    // Up to stay, and the workers are replaced.
    install(&rig, next(), "einhorn");
    assert!(is_upgraded(&master.say("upgrade", &[])));
    master.until("only new workers are left", || {
        let now = master.settled(4);
        now.iter().all(|worker| !workers.contains(worker)).then_some(())
    });
    install(&rig, THIS.as_ref(), "einhorn");
    assert!(is_upgraded(&master.say("upgrade_fleet", &[])));
    let generation = master.state()[":generation"].as_u64().unwrap();
    assert_eq!(generation, 2 * ROUNDS + 2);
}

fn what_must_not_be_passed_over_is_refused_by_name_on_the_way_down() {
    let rig = Rig::new();
    install(&rig, next(), "einhorn");
    let options = ["-n", "2", "-m", "manual", "--test-note", "keep me"];
    let master = start_as(&rig, "einhorn", &options, &["ack", "wait"], &[]);
    let workers = master.settled(2);
    install(&rig, THIS.as_ref(), "einhorn");
    for kind in ["reload", "upgrade", "upgrade_fleet"] {
        let why = "Not upgrading: einhorn 0.1.0 cannot take over (exit status 1); its last output: \
                   einhorn: the state has \"note\" in use, which this release does not know";
        assert_eq!(master.say(kind, &[]), why);
    }
    assert_eq!(master.settled(2), workers);
    assert_eq!(master.state()[":generation"].as_u64(), Some(0));
    // The release that knows it takes it along.
    install(&rig, next(), "einhorn");
    for _ in 0..2 {
        assert_eq!(master.say("reload", &[]), "Reload done: einhorn 0.1.0-next");
    }
    install(&rig, THIS.as_ref(), "einhorn");
    assert!(master.say("upgrade", &[]).contains("the state has \"note\" in use"));
    assert_eq!(master.settled(2), workers);
}

/// A master of the release after this one, in whose second upgrade one worker has failed, with what
/// only states tell of: a death, how an upgrade has ended, a hint.
fn in_a_roll_out<'a>(rig: &'a Rig, options: &[&str]) -> (Master<'a>, Client, Vec<i32>) {
    fs::write(rig.path("go"), "").unwrap();
    let go = format!("until={}", rig.path("go").display());
    let ours = ["-n", "2", "-m", "manual", "--test-hint", "perhaps"];
    let steps = [&go, "ack", "wait"];
    let master = start_as(rig, "einhorn", &[&ours, options].concat(), &steps, &[]);
    let before = master.settled(2);
    master.replaced(&before[..1], 2);
    assert!(is_upgraded(&master.say("upgrade", &[])));
    let before = master.until("the old workers are gone", || {
        let workers = master.workers();
        (workers.len() == 2).then(|| workers.iter().map(|w| w.pid).collect::<Vec<i32>>())
    });
    fs::remove_file(rig.path("go")).unwrap();
    let asked = ask(rig, "upgrade");
    let failed = another_than(&master, &before);
    send(failed, Signal::SIGKILL);
    let known = [&before[..], &[failed]].concat();
    let canary = another_than(&master, &known);
    (master, asked, [&known[..], &[canary]].concat())
}

/// The second failure is counted as one, and the roll-out ends well.
fn goes_on(rig: &Rig, master: &Master<'_>, asked: &mut Client, known: &[i32]) {
    let (canary, _) = known.split_last().unwrap();
    assert!(master.workers().iter().any(|worker| worker.pid == *canary));
    send(*canary, Signal::SIGKILL);
    master.until_logged("Failure 2 of this upgrade");
    another_than(master, known);
    fs::write(rig.path("go"), "").unwrap();
    assert!(is_upgraded(answers(rig, asked).last().unwrap()));
}

fn a_release_goes_down_in_a_roll_out_and_names_what_it_skips() {
    let rig = Rig::new();
    install(&rig, next(), "einhorn");
    let (master, mut asked, known) = in_a_roll_out(&rig, &[]);
    let mut settling = Wire::connect(&rig);
    settling.send("{command: set_workers, args: [\"3\", --wait], id: 7, events: true}\n");
    assert!(settling.line().contains("event"));

    install(&rig, THIS.as_ref(), "einhorn");
    assert_eq!(master.say("reload", &[]), "Reload done: einhorn 0.1.0");
    assert_eq!(rig.log().matches("Checking whether the new release").count(), 3, "{}", rig.log());
    assert_eq!(rig.log().matches(SKIPPED).count(), 1, "{}", rig.log());
    goes_on(&rig, &master, &mut asked, &known);
    // Who waits for something else goes on waiting for it, in the words that were asked for.
    let last = loop {
        let line = settling.line();
        assert!(line.contains("event"), "{line}");
        if !line.contains("wait: true") {
            break line;
        }
    };
    assert!(!last.contains("Reload done"), "{last}");
    assert!(settling.is_silent());
    // And up again; what was skipped is gone, so nothing is left to skip.
    let workers = master.settled(3);
    for (path, name) in [(next(), "0.1.0-next"), (Path::new(THIS), "0.1.0")] {
        install(&rig, path, "einhorn");
        assert_eq!(master.say("reload", &[]), format!("Reload done: einhorn {name}"));
    }
    assert_eq!(rig.log().matches(SKIPPED).count(), 1, "{}", rig.log());
    assert_eq!(master.settled(3), workers);
}

fn a_rollback_on_the_way_down_loses_nothing() {
    let rig = Rig::new();
    install(&rig, next(), "einhorn");
    // Passes the check, and cannot adopt anything when it runs in the master's place.
    let spoil = "case \"$1\" in --upgrade-check) ;; *) set -- --pinned rubbish \"$@\" ;; esac\n";
    let run = |first: &str, release: &Path| {
        let text = format!("#!/bin/sh\n{first}exec {} \"$@\"\n", release.display());
        script(&rig, "wrapper", &text);
    };
    run("", next());
    let wrapper = rig.path("wrapper").display().to_string();
    let (master, mut asked, known) = in_a_roll_out(&rig, &["--reexec-as", &wrapper]);
    let before = master.state()[":generation"].as_u64();
    run(spoil, THIS.as_ref());
    for round in 1..=2 {
        let answer = master.say("reload", &[]);
        assert!(answer.starts_with("Rolled back, this release goes on: "), "{answer}");
        assert!(answer.contains("--pinned does not mean \"rubbish\""), "{answer}");
        assert_eq!(rig.log().matches("Rolled back").count(), round);
        assert_eq!(master.state()[":generation"].as_u64(), before, "nothing was adopted");
    }
    assert_eq!(rig.log().matches(SKIPPED).count(), 0, "{}", rig.log());
    goes_on(&rig, &master, &mut asked, &known);
    // The hint that the release below would have skipped is there still.
    run("", THIS.as_ref());
    assert_eq!(master.say("reload", &[]), "Reload done: einhorn 0.1.0");
    assert_eq!(rig.log().matches(SKIPPED).count(), 1, "{}", rig.log());
}

/// Waits for a worker that is none of these.
fn another_than(master: &Master<'_>, known: &[i32]) -> i32 {
    master.until("a new worker", || {
        master.workers().iter().map(|worker| worker.pid).find(|pid| !known.contains(pid))
    })
}
