//! Deadlines that pass while the master re-executes itself again and again: none is lost, none
//! begins anew.

use std::fs;
use std::time::{Duration, Instant};

use einhorn::outcome::Outcome;

use crate::support::einhornsh::{Told, ask};
use crate::support::last_line::is_done;
use crate::support::releases::script;
use crate::support::rig::{Master, Rig};
use crate::support::{proc, wait};

crate::tests![
    timer_acks_come_in_time_though_the_master_reloads,
    a_worker_that_stays_is_killed_in_time_though_the_master_reloads,
    the_back_off_goes_on_though_the_master_reloads,
    what_bounds_an_upgrade_is_due_though_the_master_reloads,
    a_check_of_the_canary_is_ended_in_time_though_the_master_reloads,
];

/// How much later than it is due something may come on a busy machine, and still be no timer that
/// began anew: every test's timers are longer than the time between two reloads.
const SLACK: Duration = Duration::from_millis(800);

/// How often the master reloads.
const EVERY: Duration = Duration::from_millis(200);

/// Reloads again and again until `look` finds something; answers how long that took.
fn reloading(master: &Master<'_>, since: Instant, mut look: impl FnMut() -> bool) -> Duration {
    let mut due = Instant::now();
    let mut count = 0;
    let took = master.until("it happens while the master reloads", || {
        if Instant::now() >= due {
            due = Instant::now() + EVERY;
            assert!(master.say("reload", &[]).starts_with("Reload done"));
            count += 1;
        }
        look().then(|| since.elapsed())
    });
    assert!(count >= 4, "{count} reloads");
    took
}

fn in_time(took: Duration, due: Duration) {
    assert!(took >= due && took < due + SLACK, "{took:?}, not {due:?}");
}

fn timer_acks_come_in_time_though_the_master_reloads() {
    let rig = Rig::new();
    let begun = Instant::now();
    let master = rig.start(&["-n", "3", "-m", "1.5"], &["wait"]);
    let took = reloading(&master, begun, || master.workers().iter().any(|worker| worker.acked));
    in_time(took, Duration::from_millis(1500));
    master.settled(3);
    assert_eq!(rig.log().matches("Launched").count(), 3);
}

fn a_worker_that_stays_is_killed_in_time_though_the_master_reloads() {
    let rig = Rig::new();
    let options = ["-n", "1", "-m", "manual", "-t", "1.5"];
    let master = rig.start(&options, &["ignore=SIGUSR2", "ack", "wait"]);
    let old = master.settled(1)[0];
    let begun = Instant::now();
    assert!(is_done(&master.say("upgrade", &[])));
    let took = reloading(&master, begun, || proc::has_ended(old));
    in_time(took, Duration::from_millis(1500));
    master.until_logged(&format!("Exited worker {old} (slot 0): killed by SIGKILL"));
    assert_ne!(master.settled(1), [old]);
}

fn the_back_off_goes_on_though_the_master_reloads() {
    let rig = Rig::new();
    let master = rig.start(&["-m", "manual", "-s", "0.5"], &["exit=3"]);
    let launched = || rig.log().matches("Launched").count();
    let deaths = || master.state()[":consecutive_deaths_before_ack"].as_u64().unwrap();
    wait::until_some("the first two have died", || (deaths() >= 2).then_some(()), || rig.log());
    // Half a second, one and a half times longer each time: the third comes after 1.125 s.
    let begun = Instant::now();
    assert_eq!(launched(), 2);
    let took = reloading(&master, begun, || launched() == 3);
    // When the second died is known only to a look at the state.
    assert!(took >= Duration::from_millis(1000) && took < Duration::from_millis(1125) + SLACK);
    master.until("the streak goes on", || (deaths() == 3).then_some(()));
}

/// An upgrade with one deadline of a second and a half, which is due from its beginning on; the
/// first new worker is up at once or never.
fn upgraded(options: &[&str], is_up: bool) -> Told {
    let rig = Rig::new();
    let check = script(&rig, "check", "#!/bin/sh\nsleep 1000\n").display().to_string();
    let gate = rig.path("gate");
    fs::write(&gate, "").unwrap();
    let options: Vec<String> = options.iter().map(|word| word.replace("CHECK", &check)).collect();
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let options = [&["-n", "2", "-m", "manual"], &options[..]].concat();
    let until = format!("until={}", gate.display());
    let master = rig.start(&options, &[&until, "ack", "wait"]);
    let old = master.settled(2);
    if !is_up {
        fs::remove_file(&gate).unwrap();
    }
    let begun = Instant::now();
    let mut asked = ask(&rig, "upgrade");
    let took = reloading(&master, begun, || asked.is_over());
    in_time(took, Duration::from_millis(1500));
    let told = asked.told();
    let now = master.settled(2);
    assert_eq!(now == old, told.end.outcome != Outcome::Done, "{:?}", told.end);
    // Nothing of a check is left.
    let look = || (rig.processes().len() == 3).then_some(());
    wait::until_some("nothing else is left", look, || format!("{:?}", rig.processes()));
    told
}

fn what_bounds_an_upgrade_is_due_though_the_master_reloads() {
    let told = upgraded(&["--ack-timeout", "1.5", "--upgrade-max-failures", "1"], false);
    told.ended(Outcome::Failed, "Upgrade failed: 1 new worker failed; ");
    assert_eq!(told.end.failures[0].what, "no ACK within 1.5s");
    upgraded(&["--upgrade-timeout", "1.5"], false)
        .ended(Outcome::TimedOut, "Upgrade timed out: the roll-out took longer than 1.5s; ");
    upgraded(&["--canary-seconds", "1.5"], true).done();
}

fn a_check_of_the_canary_is_ended_in_time_though_the_master_reloads() {
    let told = upgraded(&["--on-canary", "CHECK", "--on-canary-timeout", "1.5"], true);
    told.ended(Outcome::Failed, "Upgrade failed: --on-canary for worker ");
    assert!(told.end.message.contains(" took longer than 1.5s; "), "{}", told.end.message);
}
