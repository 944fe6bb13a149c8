//! The next release passes its check and fails after the exec: the old one goes on, and says why.

use std::path::Path;

use einhorn::outcome::Outcome;
use nix::sys::signal::Signal;

use crate::support::before_and_after::{Given, Snapshot};
use crate::support::einhornsh::tell;
use crate::support::releases::{THIS, answers, ask, next, place, reexec_count, script};
use crate::support::rig::{Master, Rig, send};

crate::tests![
    a_failure_at_any_step_of_adopting_gives_the_state_back,
    a_failure_behind_a_wrapper_gives_everything_back,
    einhornsh_tells_of_a_failure_after_the_exec,
    up_and_down_between_releases_keeps_everything,
];

/// A master with the name `m`, to be replaced, in whose next release adopting fails at a step.
fn start<'a>(rig: &'a Rig, step: &str, options: &[&str]) -> Master<'a> {
    place(rig, Path::new(THIS), "m");
    let mut command = rig.command(rig.path("m"));
    command.args(["-n", "2", "-m", "0", "-b", "127.0.0.1:0"]).args(options);
    command.args(["sleep", "1000"]).env("EINHORN_TEST_FAIL_ADOPT", step);
    rig.launch(command)
}

fn gives_back(rig: &Rig, master: &mut Master<'_>, step: &str) {
    let workers = master.settled(2);
    let before = Snapshot::of(master);
    for round in 1..=2 {
        let mut bystander = ask(rig, "ping");
        let mut client = ask(rig, "upgrade");
        let messages = answers(rig, &mut client);
        let last = messages.last().unwrap();
        let words = if step == "panic" { "a panic that a test asked for" } else { step };
        assert!(last.starts_with("Rolled back, this release goes on: "), "{last}");
        assert!(last.contains(words), "{last}");
        assert_eq!(messages.iter().filter(|m| m.starts_with("Rolled back")).count(), 1);
        drop(bystander.next_reply());
        drop((client, bystander));
        before.assert_kept(master);
        assert_eq!(master.settled(2), workers);
        // Tried once for each time that it was asked for, and by itself never.
        assert_eq!(rig.log().matches("Rolled back").count(), round, "{}", rig.log());
        assert_eq!(rig.log().matches("Checking whether the new release").count(), round);
    }
    assert_eq!(reexec_count(rig), 0);
}

fn a_failure_at_any_step_of_adopting_gives_the_state_back() {
    for step in ["decode", "identity", "workers", "build", "panic"] {
        let rig = Rig::new();
        let mut master = start(&rig, step, &[]);
        place(&rig, next(), "m");
        gives_back(&rig, &mut master, step);
        // Upgrades and stops work as if nothing had been.
        place(&rig, Path::new(THIS), "m");
        assert!(master.say("reload", &[]).starts_with("Reload done"));
        master.signal(Signal::SIGTERM);
        assert!(master.ended().success());
    }
}

fn a_failure_behind_a_wrapper_gives_everything_back() {
    let rig = Rig::new();
    let text =
        format!("#!/bin/sh\nsleep 0.02\nulimit -S -n 300\nexec {} \"$@\"\n", next().display());
    script(&rig, "wrapper", &text);
    let wrapper = rig.path("wrapper").display().to_string();
    let mut master = start(&rig, "build", &["--reexec-as", &wrapper]);
    gives_back(&rig, &mut master, "build");
    let worker = master.settled(2)[0];
    let given = Given::to(worker);
    send(worker, Signal::SIGKILL);
    master.until_logged("killed by SIGKILL");
    let workers = master.settled(2);
    assert!(workers.iter().all(|pid| Given::to(*pid) == given));
}

fn einhornsh_tells_of_a_failure_after_the_exec() {
    let rig = Rig::new();
    let master = start(&rig, "build", &[]);
    let workers = master.settled(2);
    place(&rig, next(), "m");
    for command in ["upgrade", "upgrade_fleet", "reload"] {
        let told = tell(&rig, command);
        told.ended(Outcome::RolledBack, "Rolled back, this release goes on: ");
        assert_eq!(told.end.exit_status, 7);
    }
    assert_eq!(master.settled(2), workers);
}

fn up_and_down_between_releases_keeps_everything() {
    let rig = Rig::new();
    let master = start(&rig, "nowhere", &[]);
    let workers = master.settled(2);
    assert!(master.say("reload", &[]).starts_with("Reload done"));
    let before = Snapshot::of(&master);
    for round in 0..100 {
        let is_up = round % 2 == 0;
        place(&rig, if is_up { next() } else { Path::new(THIS) }, "m");
        let answer = master.say("reload", &[]);
        assert!(answer.starts_with("Reload done"), "{answer}");
        assert_eq!(answer.contains("-next"), is_up, "{answer}");
    }
    assert_eq!(master.settled(2), workers);
    before.assert_kept(&master);
}
