//! No connection is lost, whatever is upgraded and how often.

use std::fs;

use crate::support::last_line::is_done;
use crate::support::load::{begin, finish, port, under_load};
use crate::support::rig::Rig;

crate::tests![
    fifty_upgrades_of_every_kind_lose_no_connection,
    connections_that_wait_in_a_listener_survive_upgrades,
];

fn fifty_upgrades_of_every_kind_lose_no_connection() {
    let rig = Rig::new();
    let options = ["-n", "8", "-m", "manual", "-b", "127.0.0.1:0,n", "-l", "1024"];
    let steps = ["hold-usr2", "ack", "drain=v1"];
    let master = rig.start(&options, &steps);
    master.settled(8);
    let answers = under_load(port(&master), 4, |load| {
        for (count, kind) in (0..50).zip(["upgrade", "reload", "upgrade_fleet"].iter().cycle()) {
            let before = load.answered();
            let last = master.say(kind, &[]);
            assert!(is_done(&last) || last.starts_with("Reload done"), "{last}");
            // Each upgrade meets traffic.
            master.until("the clients go on", || (load.answered() > before).then_some(()));
            assert_eq!(master.state()[":generation"].as_u64(), Some(count + 1));
        }
    });
    assert!(answers > 1000, "{answers} answers are no load");
    let log = rig.log();
    assert!(!log.contains("killed by") && !log.contains("Rolled back"), "{log}");
    // Seventeen each of smooth and fleet but one; all that went had drained.
    assert_eq!(master.state()[":version"].as_u64(), Some(33));
    master.settled(8);
    assert_eq!(rig.log().matches("Launched").count(), 8 * 34);
}

fn connections_that_wait_in_a_listener_survive_upgrades() {
    let rig = Rig::new();
    let options = ["-n", "2", "-m", "manual", "-b", "127.0.0.1:0,n", "-l", "256"];
    let gate = rig.path("gate");
    let until = format!("until={}", gate.display());
    let master = rig.start(&options, &["ack", &until, "hold-usr2", "drain=v1"]);
    master.settled(2);
    let port = port(&master);
    let clients: Vec<_> = (0..200).map(|_| begin(port).unwrap()).collect();
    for kind in ["reload", "upgrade", "reload", "upgrade_fleet", "reload"] {
        master.say(kind, &[]);
    }
    fs::write(gate, "").unwrap();
    for (number, client) in clients.into_iter().enumerate() {
        let answer = finish(client);
        assert!(answer.is_ok(), "connection {number}: {answer:?}\n{}", rig.log());
    }
}
