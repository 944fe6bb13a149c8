//! OpenMetrics text, in full.

use einhorn::outcome::Outcome;
use einhorn::status::{LastUpgrade, Status, UpgradeCommand, metrics};

use super::tables::busy;

#[test]
fn a_busy_master_in_full() {
    let last = LastUpgrade {
        command: UpgradeCommand::UpgradeFleet,
        outcome: Outcome::TimedOut,
        generation: 1,
        release: None,
        message: String::new(),
        took_ms: 61_001,
        ended_on_ms: 1_795_206_031_500,
        failures: Vec::new(),
        killed: 2,
    };
    let found = metrics(&Status { last_upgrade: Some(last), ..busy() });
    assert_eq!(found, include_str!("busy.metrics"), "\n{found}");
}

#[test]
fn labels_are_escaped() {
    let mut status = busy();
    status.workers.truncate(1);
    status.workers[0].release = Some("a\\b\"c\nd\u{1b}ü".to_owned());
    let text = metrics(&status);
    let line = text.lines().find(|line| line.contains("release=\"a")).unwrap();
    assert!(line.contains("release=\"a\\\\b\\\"c\\nd\u{1b}ü\","), "{line}");
}

/// The rules of the format that a mistake here could break.
#[test]
fn each_family_is_begun_once_and_has_only_its_own_samples() {
    let text = metrics(&busy());
    let mut begun = Vec::new();
    for line in text.strip_suffix("# EOF\n").unwrap().lines() {
        if let Some(family) = line.strip_prefix("# TYPE ") {
            let (name, kind) = family.split_once(' ').unwrap();
            assert!(!begun.contains(&name), "{name} twice");
            assert!(["gauge", "counter"].contains(&kind), "{kind}");
            begun.push(name);
            continue;
        }
        let name = begun.last().unwrap();
        let unit = line.strip_prefix("# UNIT ").and_then(|rest| rest.strip_prefix(name));
        let help = line.strip_prefix("# HELP ").and_then(|rest| rest.strip_prefix(name));
        let sample = line.strip_prefix(name).map(|rest| rest.trim_start_matches("_total"));
        let is_sample = sample.is_some_and(|rest| rest.starts_with([' ', '{']));
        if let Some(unit) = unit {
            assert!(name.ends_with(&unit.replace(' ', "_")), "{line}");
        } else {
            assert!(is_sample || help.is_some(), "{line} after {name}");
        }
    }
    assert!(begun.len() > 20, "{begun:?}");
}
