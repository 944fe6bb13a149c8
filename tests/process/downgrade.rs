//! Between a release and the one after it, which knows one schema version and one feature more.

use std::path::Path;

use crate::other_release::{install, start_as};
use crate::releases::{THIS, next};
use crate::rig::Rig;

crate::tests![
    up_and_down_again_and_again_with_live_workers,
    a_feature_in_use_is_refused_by_name_on_the_way_down,
];

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
    assert!(master.say("upgrade", &[]).starts_with("Upgrade done"));
    master.until("only new workers are left", || {
        let now = master.settled(4);
        now.iter().all(|worker| !workers.contains(worker)).then_some(())
    });
    install(&rig, THIS.as_ref(), "einhorn");
    assert!(master.say("upgrade_fleet", &[]).starts_with("Upgrade done"));
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
