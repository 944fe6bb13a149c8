//! How new workers take over from old ones (behaviour.md section 6).

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Scope, ScopedJoinHandle};

use nix::sys::signal::Signal;

use crate::support::background::meanwhile;
use crate::support::last_line::is_done;
use crate::support::rig::{Master, Rig, send};
use crate::support::state_dump::{Moment, Seen, stays, until_moment, watch};

crate::tests![
    smooth_takes_few_at_a_time_and_keeps_the_capacity,
    fleet_tells_the_old_ones_when_every_new_one_is_up,
    a_release_that_dies_before_its_ack_leaves_the_old_ones_serving,
    a_release_that_never_acks_leaves_the_old_ones_serving,
    an_upgrade_in_the_middle_of_one_starts_over,
    an_upgrade_that_starts_over_finds_room_for_its_canary,
    a_hup_in_the_middle_of_an_upgrade_starts_over,
    upgrades_while_old_workers_drain_get_indexes_of_their_own,
    workers_killed_in_an_upgrade_are_replaced_by_the_new_code,
];

/// Asks for an upgrade and waits for its last line, on the side.
fn ask<'scope>(
    scope: &'scope Scope<'scope, '_>,
    master: &'scope Master<'_>,
    kind: &'static str,
) -> ScopedJoinHandle<'scope, String> {
    scope.spawn(move || master.say(kind, &[]))
}

/// A release whose workers ACK as soon as the folder has a file named after their index.
struct Gate(PathBuf);

impl Gate {
    /// Indexes that no test exceeds.
    const INDEXES: std::ops::Range<u64> = 0..32;

    fn open(rig: &Rig) -> Gate {
        let gate = Gate(rig.subfolder("gate"));
        gate.set(true);
        gate
    }

    fn step(&self) -> String {
        format!("until-index={}", self.0.display())
    }

    fn allow(&self, index: u64) {
        fs::write(self.0.join(index.to_string()), "").unwrap();
    }

    fn set(&self, is_open: bool) {
        for index in Gate::INDEXES {
            match is_open {
                true => self.allow(index),
                false => fs::remove_file(self.0.join(index.to_string())).unwrap(),
            }
        }
    }
}

fn smooth_takes_few_at_a_time_and_keeps_the_capacity() {
    smooth_takes(2, ["2", "3"]);
    smooth_takes(1, ["4", "1"]);
}

/// With these values of `--max-unacked` and `--max-upgrade-additional`, so many start at once.
fn smooth_takes(at_once: usize, [unacked, additional]: [&str; 2]) {
    let rig = Rig::new();
    let gate = Gate::open(&rig);
    let limits = ["--max-unacked", unacked, "--max-upgrade-additional", additional];
    let options = [&["-n", "6", "-m", "manual"], &limits[..]].concat();
    let master = rig.start(&options, &[&gate.step(), "ack", "wait"]);
    master.settled(6);
    gate.set(false);
    let most = 6 + additional.parse::<usize>().unwrap();
    let check = |moment: &Moment| {
        moment.is_sound();
        assert!(moment.unacked() <= at_once, "{:?}", moment.workers);
        assert!(moment.staying() <= most, "{:?}", moment.workers);
    };
    meanwhile(&master, |scope| {
        let asked = ask(scope, &master, "upgrade");
        until_moment(&master, "the canary waits for its ACK", |moment| moment.unacked() == 1);
        // It alone, whatever is allowed; and nobody is told to go.
        stays(&master, |moment| {
            assert_eq!((moment.unacked(), moment.staying(), moment.asked_to_stop()), (1, 7, 0));
        });
        gate.allow(6);
        until_moment(&master, "some wait for their ACK", |moment| {
            check(moment);
            moment.up() == 1 && moment.unacked() == at_once
        });
        // As many as are allowed wait: no more are started, and one was told to go for the canary.
        stays(&master, |moment| {
            assert_eq!((moment.unacked(), moment.staying()), (at_once, 6 + at_once));
        });
        gate.set(true);
        watch(&master, 1, check);
        assert!(is_done(&asked.join().unwrap()));
    });
    // One for each: all of them were replaced, and none twice.
    assert_eq!(rig.log().matches("Launched").count(), 12);
}

fn fleet_tells_the_old_ones_when_every_new_one_is_up() {
    let rig = Rig::new();
    let gate = Gate::open(&rig);
    let options = ["-n", "4", "-m", "manual", "--max-unacked", "1"];
    let master = rig.start(&options, &[&gate.step(), "ack", "wait"]);
    master.settled(4);
    gate.set(false);
    meanwhile(&master, |scope| {
        let asked = ask(scope, &master, "upgrade_fleet");
        until_moment(&master, "all wait for their ACK", |moment| moment.unacked() == 4);
        (4..7).for_each(|index| gate.allow(index));
        until_moment(&master, "three are up", |moment| moment.unacked() == 1);
        stays(&master, |moment| assert_eq!((moment.unacked(), moment.staying()), (1, 8)));
        gate.allow(7);
        watch(&master, 1, Moment::is_sound);
        assert!(is_done(&asked.join().unwrap()));
    });
}

/// A master whose workers do what the file `release` says.
fn start_released<'a>(rig: &'a Rig, options: &[&str]) -> Master<'a> {
    release(rig, "ack\nwait");
    let steps = format!("as-in={}", rig.path("release").display());
    rig.start(&[options, &["-m", "manual"]].concat(), &[&steps])
}

fn release(rig: &Rig, steps: &str) {
    fs::write(rig.path("unfinished"), steps).unwrap();
    fs::rename(rig.path("unfinished"), rig.path("release")).unwrap();
}

/// A release that fails: the roll-out ends by itself, and says why; the old workers are the same as
/// before, and serve until the next upgrade.
fn fails_and_is_mended(options: &[&str], steps: &str, death: &str, why: &str) {
    // A fleet starts its three at once: they are as many as may fail, and no fourth follows.
    for (kind, back_off) in [("upgrade", "0.02"), ("upgrade_fleet", "1000")] {
        let rig = Rig::new();
        let master = start_released(&rig, &[options, &["-n", "3", "-s", back_off]].concat());
        let old = master.settled(3);
        release(&rig, steps);
        let last = meanwhile(&master, |scope| {
            let asked = ask(scope, &master, kind);
            until_moment(&master, "the upgrade has ended", |_| asked.is_finished());
            asked.join().unwrap()
        });
        let told = "Upgrade failed: 3 new workers failed; generation 0 is still serving";
        assert_eq!(last, told);
        let log = rig.log();
        let (_, first) = log.split_once(&format!("{told}; the first failure: worker ")).unwrap();
        assert!(first.lines().next().unwrap().contains(why), "{first}");
        until_moment(&master, "only the old ones are left", |m| m.workers.len() == 3);
        assert_eq!(master.settled(3), old);
        stays(&master, |moment| {
            moment.is_sound();
            assert_eq!((moment.version, moment.workers.len()), (0, 3));
        });
        let log = rig.log();
        assert_eq!(log.matches("Launched").count(), 3 + 3, "{log}");
        assert_eq!(log.matches(death).count(), 3, "{log}");
        assert_eq!(log.matches("Failure 3 of this upgrade; it ends at 3").count(), 1, "{log}");
        release(&rig, "ack\nwait");
        assert!(is_done(&master.say(kind, &[])));
        watch(&master, 2, Moment::is_sound);
    }
}

fn a_release_that_dies_before_its_ack_leaves_the_old_ones_serving() {
    let death = "before it was ACKed: exit status 3";
    fails_and_is_mended(&[], "exit=3", death, "exit status 3, ");
}

fn a_release_that_never_acks_leaves_the_old_ones_serving() {
    let death = "before it was ACKed: killed by SIGUSR2";
    fails_and_is_mended(&["--ack-timeout", "0.3"], "wait", death, "no ACK within 0.3s, ");
    let death = "before it was ACKed: killed by SIGKILL";
    let options = ["--ack-timeout", "0.3", "-t", "0.2"];
    fails_and_is_mended(&options, "ignore=SIGUSR2\nwait", death, "no ACK within 0.3s, ");
}

fn an_upgrade_in_the_middle_of_one_starts_over() {
    for first in ["upgrade", "upgrade_fleet"] {
        let rig = Rig::new();
        let gate = Gate::open(&rig);
        let options = ["-n", "4", "-m", "manual", "--max-unacked", "2"];
        let master = rig.start(&options, &[&gate.step(), "ack", "wait"]);
        master.settled(4);
        gate.set(false);
        let count = if first == "upgrade" { 1 } else { 4 };
        meanwhile(&master, |scope| {
            let asked = ask(scope, &master, first);
            until_moment(&master, "the first wait", |moment| moment.unacked() == count);
            let second = ask(scope, &master, "upgrade_fleet");
            master.until_logged("Starting over with the newest code");
            until_moment(&master, "four more wait", |m| m.version == 2 && m.unacked() == 4);
            gate.set(true);
            watch(&master, 2, Moment::is_sound);
            assert!(is_done(&asked.join().unwrap()));
            assert!(is_done(&second.join().unwrap()));
        });
    }
}

/// What a roll-out that was superseded has left must not take the room of the next one.
fn an_upgrade_that_starts_over_finds_room_for_its_canary() {
    let rig = Rig::new();
    let gate = Gate::open(&rig);
    let limits = ["--max-unacked", "1", "--max-upgrade-additional", "1"];
    let options = [&["-n", "2", "-m", "manual"], &limits[..]].concat();
    let master = rig.start(&options, &[&gate.step(), "ack", "wait"]);
    master.settled(2);
    gate.set(false);
    meanwhile(&master, |scope| {
        let first = ask(scope, &master, "upgrade");
        until_moment(&master, "the first canary waits", |moment| moment.unacked() == 1);
        let second = ask(scope, &master, "upgrade");
        until_moment(&master, "the next one waits", |m| m.version == 2 && m.unacked() == 1);
        gate.set(true);
        watch(&master, 2, Moment::is_sound);
        assert!(is_done(&first.join().unwrap()));
        assert!(is_done(&second.join().unwrap()));
    });
}

fn a_hup_in_the_middle_of_an_upgrade_starts_over() {
    let rig = Rig::new();
    let gate = Gate::open(&rig);
    let options = ["-n", "4", "-m", "manual", "--max-unacked", "2"];
    let master = rig.start(&options, &[&gate.step(), "ack", "wait"]);
    master.settled(4);
    gate.set(false);
    meanwhile(&master, |scope| {
        let asked = ask(scope, &master, "upgrade");
        until_moment(&master, "the canary waits", |moment| moment.unacked() == 1);
        gate.allow(4);
        until_moment(&master, "two more wait", |m| m.up() == 1 && m.unacked() == 2);
        master.signal(Signal::SIGHUP);
        until_moment(&master, "the newest waits", |m| m.version == 2 && m.unacked() == 1);
        gate.set(true);
        watch(&master, 2, Moment::is_sound);
        assert!(is_done(&asked.join().unwrap()));
    });
}

fn upgrades_while_old_workers_drain_get_indexes_of_their_own() {
    let rig = Rig::new();
    let steps = ["ignore=SIGUSR2", "ack", "wait"];
    let master = rig.start(&["-n", "2", "-m", "manual"], &steps);
    master.settled(2);
    for (count, kind) in (1..).zip(["upgrade", "upgrade_fleet", "upgrade"]) {
        assert!(is_done(&master.say(kind, &[])));
        let drain = |moment: &Moment| moment.asked_to_stop() == 2 * count && moment.staying() == 2;
        until_moment(&master, "the old ones drain", drain);
    }
    // Nobody is started in place of those that are on their way out.
    stays(&master, |moment| assert_eq!((moment.workers.len(), moment.staying()), (8, 2)));
    for worker in Moment::of(&master).workers.iter().filter(|worker| worker.is_told_to_go) {
        send(worker.pid, Signal::SIGKILL);
    }
    watch(&master, 3, Moment::is_sound);
}

fn workers_killed_in_an_upgrade_are_replaced_by_the_new_code() {
    let rig = Rig::new();
    let gate = Gate::open(&rig);
    let options = ["-n", "4", "-m", "manual", "-s", "0.05", "--max-unacked", "2"];
    let master = rig.start(&options, &[&gate.step(), "ack", "wait"]);
    let old = master.settled(4);
    gate.set(false);
    meanwhile(&master, |scope| {
        let asked = ask(scope, &master, "upgrade");
        until_moment(&master, "the canary waits", |moment| moment.unacked() == 1);
        gate.allow(4);
        until_moment(&master, "two more wait", |m| m.up() == 1 && m.unacked() == 2);
        let waiting = |worker: &&Seen| worker.version == 1 && !worker.is_acked;
        let new = Moment::of(&master).workers.iter().find(waiting).unwrap().pid;
        // The one that was told to go for the canary is the first.
        send(old[1], Signal::SIGKILL);
        send(new, Signal::SIGKILL);
        master.until_logged(&format!("Exited worker {}", old[1]));
        master.until_logged(&format!("Exited worker {new}"));
        let is_open = AtomicBool::new(false);
        watch(&master, 1, |moment| {
            // The one that was killed is missing, and no other.
            assert!(moment.capacity() >= 3, "{:?}", moment.workers);
            if moment.unacked() == 2 && !is_open.swap(true, Ordering::Relaxed) {
                assert_eq!(moment.capacity(), 3);
                gate.set(true);
            }
        });
        assert!(is_done(&asked.join().unwrap()));
    });
}
