//! What dies is replaced: at once when it had been up, backed off when it had not.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::rig::{Rig, send};
use crate::wait;

crate::tests![
    acked_workers_are_replaced_at_once_whatever_the_interval,
    deaths_before_an_ack_back_off,
    a_program_that_cannot_be_executed_is_named_and_backs_off,
];

fn acked_workers_are_replaced_at_once_whatever_the_interval() {
    let rig = Rig::new();
    let master = rig.start(&["-n", "20", "-m", "manual", "-s", "30"], &["ack", "wait"]);
    let first = master.settled(20);
    for pid in &first {
        send(*pid, Signal::SIGKILL);
    }
    let second = master.settled(20);
    assert!(second.iter().all(|pid| !first.contains(pid)));
    let indexes: Vec<u64> = master.workers().iter().map(|worker| worker.index).collect();
    assert_eq!(
        {
            let mut sorted = indexes;
            sorted.sort();
            sorted
        },
        (0..20).collect::<Vec<_>>()
    );
}

fn deaths_before_an_ack_back_off() {
    let rig = Rig::new();
    let begun = Instant::now();
    let master = rig.start(&["-m", "manual", "-s", "0.2"], &["exit=3"]);
    // 0.3, 0.45 and 0.675 seconds lie between the first four starts.
    master.until("a fourth start", || (rig.log().matches("Launched").count() == 4).then_some(()));
    assert!(begun.elapsed() >= Duration::from_millis(1425));
    assert!(rig.log().contains("before it was ACKed: exit status 3"), "{}", rig.log());
}

fn a_program_that_cannot_be_executed_is_named_and_backs_off() {
    let rig = Rig::new();
    std::fs::write(rig.path("plain"), "no program").unwrap();
    for (program, why) in [
        ("./missing", "cannot execute ./missing: No such file or directory"),
        ("./plain", "not executable"),
        ("./", "it is a directory"),
    ] {
        let mut master = rig.launch(rig.einhorn(&["-n", "3", "-s", "20", program]));
        master.until_logged(why);
        let count = || rig.log().matches(why).count();
        wait::throughout(Duration::from_millis(300), || assert_eq!(count(), 1, "{}", rig.log()));
        master.signal(Signal::SIGTERM);
        assert!(master.ended().success());
    }
}
