//! Between a release and the one after it, which knows one schema version and one feature more.

use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;

use crate::support::last_line::is_done;
use crate::support::other_release::{install, start_as};
use crate::support::releases::{THIS, answers, ask, next};
use crate::support::rig::{Master, Rig, send};
use crate::support::wire::Wire;

crate::tests![
    up_and_down_again_and_again_with_live_workers,
    a_feature_in_use_is_refused_by_name_on_the_way_down,
    a_release_that_knows_version_1_only_takes_over_in_a_roll_out,
    a_release_that_knows_version_1_only_is_refused_what_it_does_not_know,
];

/// Makes the release after this one play one that knows the first schema version and no feature.
/// It says so when it is asked, and adopts nothing else.
const FIRST: (&str, &str) = ("EINHORN_TEST_FIRST_SCHEMA", "1");

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
    // Up to stay, and the workers are replaced by a master that speaks the newer version.
    install(&rig, next(), "einhorn");
    assert!(is_done(&master.say("upgrade", &[])));
    master.until("only new workers are left", || {
        let now = master.settled(4);
        now.iter().all(|worker| !workers.contains(worker)).then_some(())
    });
    install(&rig, THIS.as_ref(), "einhorn");
    assert!(is_done(&master.say("upgrade_fleet", &[])));
    let generation = master.state()[":generation"].as_u64().unwrap();
    assert_eq!(generation, 2 * ROUNDS + 2);
}

fn a_feature_in_use_is_refused_by_name_on_the_way_down() {
    let rig = Rig::new();
    install(&rig, next(), "einhorn");
    let options = ["-n", "2", "-m", "manual", "--test-note", "keep me"];
    let master = start_as(&rig, "einhorn", &options, &["ack", "wait"], &[]);
    let workers = master.settled(2);
    install(&rig, THIS.as_ref(), "einhorn");
    for kind in ["reload", "upgrade", "upgrade_fleet"] {
        let why = "Not upgrading: einhorn 0.1.0 does not know \"note\", which is in use";
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
    assert!(master.say("upgrade", &[]).contains("does not know \"note\""));
    assert_eq!(master.settled(2), workers);
}

fn a_release_that_knows_version_1_only_takes_over_in_a_roll_out() {
    let rig = Rig::new();
    install(&rig, THIS.as_ref(), "einhorn");
    fs::write(rig.path("go"), "").unwrap();
    let go = format!("until={}", rig.path("go").display());
    let options = ["-n", "2", "-m", "manual"];
    let master = start_as(&rig, "einhorn", &options, &[&go, "ack", "wait"], &[FIRST]);
    // What only version 2 tells of: deaths, how an upgrade has ended, the failures of another.
    let before = master.settled(2);
    master.replaced(&before[..1], 2);
    assert!(is_done(&master.say("upgrade", &[])));
    let before = master.until("the old workers are gone", || {
        let workers = master.workers();
        (workers.len() == 2).then(|| workers.iter().map(|w| w.pid).collect::<Vec<i32>>())
    });
    fs::remove_file(rig.path("go")).unwrap();
    let mut asked = ask(&rig, "upgrade");
    let failed = another_than(&master, &before);
    send(failed, Signal::SIGKILL);
    let canary = another_than(&master, &[&before[..], &[failed]].concat());
    let mut settling = Wire::connect(&rig);
    settling.send("{command: set_workers, args: [\"3\", --wait], id: 7, events: true}\n");
    assert!(settling.line().contains("event"));

    install(&rig, next(), "einhorn");
    assert_eq!(master.say("reload", &[]), "Reload done: einhorn 0.1.0-next");
    assert_eq!(rig.log().matches("Asking the new release").count(), 4, "{}", rig.log());
    // Who waits for what that release does not know has one last line, and a plain one.
    let last = loop {
        let line = settling.line();
        if line.contains("Reload done") {
            break line;
        }
        assert!(line.contains("wait: true"), "{line}");
    };
    assert!(!last.contains("event") && !last.contains("wait: true"), "{last}");
    assert!(master.workers().iter().any(|worker| worker.pid == canary));
    // The roll-out goes on, and whoever asked for it hears of its end.
    fs::write(rig.path("go"), "").unwrap();
    assert!(is_done(answers(&rig, &mut asked).last().unwrap()));
    assert!(settling.is_silent());
    // And up again.
    let workers = master.settled(3);
    install(&rig, THIS.as_ref(), "einhorn");
    assert_eq!(master.say("reload", &[]), "Reload done: einhorn 0.1.0");
    assert_eq!(master.settled(3), workers);
}

/// Waits for a worker that is none of these.
fn another_than(master: &Master<'_>, known: &[i32]) -> i32 {
    master.until("a new worker", || {
        master.workers().iter().map(|worker| worker.pid).find(|pid| !known.contains(pid))
    })
}

fn a_release_that_knows_version_1_only_is_refused_what_it_does_not_know() {
    for (option, value, feature) in [
        ("--ack-timeout", "none", "ack-timeout"),
        ("--upgrade-timeout", "3600", "upgrade-timeout"),
        ("--upgrade-max-failures", "5", "upgrade-max-failures"),
        ("--on-canary", "true", "canary"),
        ("--chdir", "/", "chdir"),
        ("--env-file", "/dev/null", "env-file"),
        ("--metrics-file", "/dev/null", "metrics-file"),
    ] {
        let rig = Rig::new();
        install(&rig, THIS.as_ref(), "einhorn");
        let options = ["-n", "1", "-m", "manual", option, value];
        let master = start_as(&rig, "einhorn", &options, &["ack", "wait"], &[FIRST]);
        let workers = master.settled(1);
        install(&rig, next(), "einhorn");
        let why = format!(
            "Not upgrading: einhorn 0.1.0-next does not know \"{feature}\", which is in use"
        );
        assert_eq!(master.say("reload", &[]), why);
        assert_eq!(master.settled(1), workers);
    }
    // One that is not in use any more is none.
    let rig = Rig::new();
    install(&rig, THIS.as_ref(), "einhorn");
    let options = ["-n", "1", "-m", "manual", "--canary-seconds", "1"];
    let master = start_as(&rig, "einhorn", &options, &["ack", "wait"], &[FIRST]);
    let workers = master.settled(1);
    install(&rig, next(), "einhorn");
    assert!(master.say("upgrade", &[]).contains("does not know \"canary\""));
    master.say("config", &["canary_seconds: 0"]);
    assert_eq!(master.say("reload", &[]), "Reload done: einhorn 0.1.0-next");
    assert_eq!(master.settled(1), workers);
}
