//! How new workers take over from old ones (behaviour.md section 6).

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::meanwhile::meanwhile;
use crate::rig::{Master, Rig, send};
use crate::wait;

crate::tests![
    smooth_takes_few_at_a_time_and_keeps_the_capacity,
    fleet_tells_the_old_ones_when_every_new_one_is_up,
    a_release_that_dies_before_its_ack_leaves_the_old_ones_serving,
    a_release_that_never_acks_leaves_the_old_ones_serving,
    an_upgrade_in_the_middle_of_one_starts_over,
    a_hup_in_the_middle_of_an_upgrade_starts_over,
    upgrades_while_old_workers_drain_get_indexes_of_their_own,
    workers_killed_in_an_upgrade_are_replaced_by_the_new_code,
];

/// What the state dump says at one moment.
struct Moment {
    /// Pid, version, index, ACKed, told to go.
    workers: Vec<(i32, u64, u64, bool, bool)>,
    version: u64,
    target: usize,
    is_upgrading: bool,
}

impl Moment {
    fn of(master: &Master<'_>) -> Moment {
        let state = master.state();
        let worker = |(pid, worker): (&serde_yaml::Value, &serde_yaml::Value)| {
            let serde_yaml::Value::Tagged(set) = &worker[":signaled"] else { panic!("no set") };
            let number = |name: &str| worker[name].as_u64().unwrap();
            (
                i32::try_from(pid.as_i64().unwrap()).unwrap(),
                number(":version"),
                number(":index"),
                worker[":acked"].as_bool().unwrap(),
                !set.value["hash"].as_mapping().unwrap().is_empty(),
            )
        };
        Moment {
            workers: state[":children"].as_mapping().unwrap().iter().map(worker).collect(),
            version: state[":version"].as_u64().unwrap(),
            target: usize::try_from(state[":config"][":number"].as_u64().unwrap()).unwrap(),
            is_upgrading: state[":upgrading"].as_bool().unwrap(),
        }
    }

    fn capacity(&self) -> usize {
        self.workers.iter().filter(|(_, _, _, acked, signaled)| *acked && !signaled).count()
    }

    fn staying(&self) -> usize {
        self.workers.iter().filter(|(_, _, _, _, signaled)| !signaled).count()
    }

    /// Workers of the newest code that wait for their ACK.
    fn unacked(&self) -> usize {
        let waits = |worker: &&(i32, u64, u64, bool, bool)| worker.1 == self.version && !worker.3;
        self.workers.iter().filter(waits).count()
    }

    fn told_to_go(&self) -> usize {
        self.workers.len() - self.staying()
    }

    /// Whether only workers of the newest code are left, all of them up.
    fn has_converged(&self) -> bool {
        let is_new = |worker: &(i32, u64, u64, bool, bool)| worker.1 == self.version && worker.3;
        !self.is_upgrading
            && self.workers.len() == self.target
            && self.workers.iter().all(is_new)
            && self.told_to_go() == 0
    }

    /// # Panics
    /// Less capacity than is wanted, or two workers of one index.
    fn is_sound(&self) {
        assert!(self.capacity() >= self.target, "{:?}", self.workers);
        let indexes: BTreeSet<u64> = self.workers.iter().map(|worker| worker.2).collect();
        assert_eq!(indexes.len(), self.workers.len(), "{:?}", self.workers);
    }
}

/// Asks for an upgrade and waits for its last line, on the side.
fn ask<'scope>(
    scope: &'scope Scope<'scope, '_>,
    master: &'scope Master<'_>,
    kind: &'static str,
) -> ScopedJoinHandle<'scope, String> {
    scope.spawn(move || master.say(kind, &[]))
}

/// Looks without a pause until the roll-out is over and only the newest code is left.
fn watch(master: &Master<'_>, version: u64, mut check: impl FnMut(&Moment)) {
    master.until("the newest code has taken over", || {
        let moment = Moment::of(master);
        check(&moment);
        (moment.has_converged() && moment.version == version).then_some(())
    });
}

/// Checks for a while that nothing moves on.
fn stays(master: &Master<'_>, check: impl Fn(&Moment)) {
    wait::throughout(Duration::from_millis(250), || check(&Moment::of(master)));
}

fn until_moment(master: &Master<'_>, what: &str, look: impl Fn(&Moment) -> bool) {
    master.until(what, || {
        let moment = Moment::of(master);
        moment.is_sound();
        look(&moment).then_some(())
    });
}

/// A release that ACKs as soon as a file is there, and the file.
struct Gate(std::path::PathBuf);

impl Gate {
    fn open(rig: &Rig) -> Gate {
        let gate = Gate(rig.path("gate"));
        gate.set(true);
        gate
    }

    fn step(&self) -> String {
        format!("until={}", self.0.display())
    }

    fn set(&self, is_open: bool) {
        match is_open {
            true => fs::write(&self.0, "").unwrap(),
            false => fs::remove_file(&self.0).unwrap(),
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
        until_moment(&master, "some wait for their ACK", |moment| moment.unacked() == at_once);
        // As many as are allowed wait: no more are started and nobody is told to go.
        stays(&master, |moment| {
            assert_eq!((moment.unacked(), moment.staying()), (at_once, 6 + at_once));
        });
        gate.set(true);
        watch(&master, 1, check);
        assert!(asked.join().unwrap().starts_with("Upgrade done"));
    });
    // One for each: all of them were replaced, and none twice.
    assert_eq!(rig.log().matches("Launched").count(), 12);
}

fn fleet_tells_the_old_ones_when_every_new_one_is_up() {
    let rig = Rig::new();
    let folder = rig.subfolder("up");
    let allow = |index: u64| fs::write(folder.join(index.to_string()), "").unwrap();
    (0..4).for_each(allow);
    let until = format!("until-index={}", folder.display());
    let options = ["-n", "4", "-m", "manual", "--max-unacked", "1"];
    let master = rig.start(&options, &[&until, "ack", "wait"]);
    master.settled(4);
    meanwhile(&master, |scope| {
        let asked = ask(scope, &master, "upgrade_fleet");
        until_moment(&master, "all wait for their ACK", |moment| moment.unacked() == 4);
        (4..7).for_each(allow);
        until_moment(&master, "three are up", |moment| moment.unacked() == 1);
        stays(&master, |moment| assert_eq!((moment.unacked(), moment.staying()), (1, 8)));
        allow(7);
        watch(&master, 1, Moment::is_sound);
        assert!(asked.join().unwrap().starts_with("Upgrade done"));
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

fn a_release_that_dies_before_its_ack_leaves_the_old_ones_serving() {
    for kind in ["upgrade", "upgrade_fleet"] {
        let rig = Rig::new();
        let master = start_released(&rig, &["-n", "3", "-s", "0.02"]);
        let old = master.settled(3);
        release(&rig, "exit=3");
        meanwhile(&master, |scope| {
            let asked = ask(scope, &master, kind);
            let deaths = "before it was ACKed: exit status 3";
            master.until("they die again and again", || {
                Moment::of(&master).is_sound();
                (rig.log().matches(deaths).count() >= 6).then_some(())
            });
            assert!(!asked.is_finished());
            let serving = |pid: &i32| Moment::of(&master).workers.iter().any(|w| w.0 == *pid);
            assert!(old.iter().all(serving));
            release(&rig, "ack\nwait");
            let again = ask(scope, &master, kind);
            watch(&master, 2, Moment::is_sound);
            // Who asked for the bad release learns the end too.
            assert!(asked.join().unwrap().starts_with("Upgrade done"));
            assert!(again.join().unwrap().starts_with("Upgrade done"));
        });
    }
}

fn a_release_that_never_acks_leaves_the_old_ones_serving() {
    let rig = Rig::new();
    let master = start_released(&rig, &["-n", "3", "--max-unacked", "2"]);
    master.settled(3);
    release(&rig, "wait");
    meanwhile(&master, |scope| {
        ask(scope, &master, "upgrade");
        until_moment(&master, "two hang", |moment| moment.unacked() == 2);
        stays(&master, |moment| {
            assert_eq!((moment.capacity(), moment.staying()), (3, 5));
        });
        release(&rig, "ack\nwait");
        assert!(master.say("upgrade", &[]).starts_with("Upgrade done"));
        watch(&master, 2, Moment::is_sound);
    });
}

fn an_upgrade_in_the_middle_of_one_starts_over() {
    let rig = Rig::new();
    let gate = Gate::open(&rig);
    let folder = rig.subfolder("up");
    (0..6).for_each(|index| fs::write(folder.join(index.to_string()), "").unwrap());
    let until = format!("until-index={}", folder.display());
    let options = ["-n", "4", "-m", "manual", "--max-unacked", "2"];
    let master = rig.start(&options, &[&until, &gate.step(), "ack", "wait"]);
    master.settled(4);
    gate.set(false);
    meanwhile(&master, |scope| {
        let first = ask(scope, &master, "upgrade");
        until_moment(&master, "two wait", |moment| moment.unacked() == 2);
        let second = ask(scope, &master, "upgrade_fleet");
        master.until_logged("starting over with the newest code");
        until_moment(&master, "four more wait", |m| m.version == 2 && m.unacked() == 4);
        (6..16).for_each(|index| fs::write(folder.join(index.to_string()), "").unwrap());
        gate.set(true);
        watch(&master, 2, Moment::is_sound);
        assert!(first.join().unwrap().starts_with("Upgrade done"));
        assert!(second.join().unwrap().starts_with("Upgrade done"));
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
        until_moment(&master, "two wait", |moment| moment.unacked() == 2);
        master.signal(Signal::SIGHUP);
        until_moment(&master, "the newest wait", |m| m.version == 2 && m.unacked() == 2);
        gate.set(true);
        watch(&master, 2, Moment::is_sound);
        assert!(asked.join().unwrap().starts_with("Upgrade done"));
    });
}

fn upgrades_while_old_workers_drain_get_indexes_of_their_own() {
    let rig = Rig::new();
    let steps = ["ignore=SIGUSR2", "ack", "wait"];
    let master = rig.start(&["-n", "2", "-m", "manual"], &steps);
    master.settled(2);
    for (count, kind) in (1..).zip(["upgrade", "upgrade_fleet", "upgrade"]) {
        assert!(master.say(kind, &[]).starts_with("Upgrade done"));
        let drain = |moment: &Moment| moment.told_to_go() == 2 * count && moment.staying() == 2;
        until_moment(&master, "the old ones drain", drain);
    }
    // Nobody is started in place of those that are on their way out.
    stays(&master, |moment| assert_eq!((moment.workers.len(), moment.staying()), (8, 2)));
    for worker in Moment::of(&master).workers.iter().filter(|worker| worker.4) {
        send(worker.0, Signal::SIGKILL);
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
        until_moment(&master, "two wait", |moment| moment.unacked() == 2);
        let moment = Moment::of(&master);
        let new = moment.workers.iter().find(|worker| worker.1 == 1).unwrap().0;
        send(old[0], Signal::SIGKILL);
        send(new, Signal::SIGKILL);
        master.until_logged(&format!("Exited worker {}", old[0]));
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
        assert!(asked.join().unwrap().starts_with("Upgrade done"));
    });
}
