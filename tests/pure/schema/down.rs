//! Between versions: up, down again, and what does not come down.

use std::time::Duration;

use einhorn::schema::{Handover, SchemaError, decode, encode, read_header};
use einhorn::state::{FEATURES, Generation, ReexecMode, SCHEMA_VERSIONS, Slot, WaitsFor};

use super::golden;

#[test]
fn version_1_goes_up_and_comes_down_again() {
    for golden in golden::all(1) {
        let old = golden.bytes();
        let read = decode(&old).expect("version 1");
        for newer in SCHEMA_VERSIONS[1..].iter().copied() {
            let new = encode(&read, newer, golden.rollback, golden.report).expect("a newer one");
            assert_eq!(read_header(&new).map(|header| header.version), Ok(newer));
            let read = decode(&new).expect("a newer one");
            assert_eq!(read, golden.handover, "{}", golden.name);
            assert_eq!(encode(&read, 1, golden.rollback, golden.report).as_ref(), Ok(&old));
        }
    }
}

/// A way to use a feature.
type Change = (&'static str, fn(&mut Handover));

/// Every way to use every feature that came with version 2.
const CHANGES: &[Change] = &[
    ("ack-timeout", |h| h.state.config.rollout.ack_timeout = None),
    ("ack-timeout", |h| h.state.config.rollout.ack_timeout = Some(Duration::from_secs(119))),
    ("upgrade-timeout", |h| h.state.config.rollout.upgrade_timeout = Some(Duration::from_secs(9))),
    ("upgrade-max-failures", |h| h.state.config.rollout.failures_max = Some(3)),
    ("canary", |h| h.state.config.rollout.canary = Duration::from_nanos(1)),
    ("canary", |h| h.state.config.rollout.on_canary.push("true".into())),
    ("canary", |h| h.state.config.rollout.on_canary_timeout = Duration::from_secs(61)),
    ("chdir", |h| h.state.config.chdir = Some("/".into())),
    ("env-file", |h| h.state.config.env_file = Some("/dev/null".into())),
    ("metrics-file", |h| h.state.config.metrics_file = Some("/run/metrics".into())),
    ("pinned", |h| h.state.config.reexec_mode = ReexecMode::Pinned),
    ("failed-generation", |h| {
        h.state.newest_generation = Generation(1);
        h.state.ordered.insert(Slot(7), Generation(1));
    }),
    ("failed-generation", |h| {
        h.state.newest_generation = Generation(1);
        for worker in h.state.workers.values_mut() {
            worker.generation = Generation(1);
        }
    }),
    ("capture-stderr", |h| h.state.config.capture_stderr = true),
];

#[test]
fn a_feature_in_use_does_not_come_down_to_version_1() {
    for (feature, change) in CHANGES {
        let mut handover = golden::fresh(2);
        assert!(handover.state.features_in_use().is_empty());
        encode(&handover, 1, None, None).expect("nothing is in use");
        change(&mut handover);
        assert_eq!(handover.state.features_in_use(), [*feature]);
        let error = encode(&handover, 1, None, None).expect_err(feature);
        assert_eq!(error, SchemaError::FeatureInUse { feature, version: 1 });
        assert!(error.to_string().contains(feature));
        let kept = encode(&handover, 2, None, None).expect("version 2 has words for it");
        assert_eq!(decode(&kept), Ok(handover));
    }
    let mut tried: Vec<&str> = CHANGES.iter().map(|(feature, _)| *feature).collect();
    tried.dedup();
    let known = FEATURES.iter().filter(|feature| **feature != "note");
    assert!(known.eq(tried.iter()), "{FEATURES:?}, and tried {tried:?}");
}

#[test]
fn what_comes_first_is_named() {
    let busy = golden::busy(2);
    assert_eq!(busy.state.features_in_use(), FEATURES[..10]);
    let error = encode(&busy, 1, None, None).expect_err("everything is in use");
    assert_eq!(error, SchemaError::FeatureInUse { feature: FEATURES[0], version: 1 });
}

#[test]
fn what_nobody_asked_for_is_left_behind() {
    let mut handover = golden::busy(2);
    let first = golden::busy(1).state;
    handover.state.config = first.config;
    handover.captured.clear();
    let state = &mut handover.state;
    state.workers.retain(|_, worker| worker.generation <= state.generation);
    for worker in state.workers.values_mut() {
        worker.directory = None;
    }
    state.deployments.clear();
    state.next_deployment = None;
    let bytes = encode(&handover, 1, None, None).expect("nothing is in use");
    let read = decode(&bytes).expect("version 1");
    assert_eq!(read.state.workers, first.workers);
    assert_eq!(read.state.rollout, first.rollout);
    assert_eq!((read.state.last_upgrade, read.state.slot_deaths.len()), (None, 0));
    assert_eq!(read.state.newest_generation, read.state.generation);
    // Each gets a last line all the same: at the hand-over that this is written for.
    for (left, had) in read.state.waiters.iter().zip(&handover.state.waiters) {
        let expected = match had.waits_for {
            WaitsFor::Settled | WaitsFor::Exit => WaitsFor::Reexec,
            known => known,
        };
        assert_eq!((left.waits_for, left.wants_events), (expected, false));
        assert_eq!((left.connection, &left.request_id), (had.connection, &had.request_id));
    }
    assert_eq!(read.state.waiters.len(), handover.state.waiters.len());
}

/// The release after this one knows a version and a fact more.
#[cfg(feature = "next")]
mod next {
    use einhorn::schema::describe;

    use super::*;

    #[test]
    fn its_feature_in_use_does_not_come_down() {
        let mut handover = golden::busy(1);
        handover.state.note = Some("remember".into());
        assert_eq!(handover.state.features_in_use(), ["note"]);
        let new = encode(&handover, 3, None, None).expect("version 3");
        assert!(describe(&new).expect("version 3").contains("note: remember"));
        assert_eq!(decode(&new), Ok(handover.clone()));
        for version in [1, 2] {
            let error = encode(&handover, version, None, None).expect_err("it has no word for it");
            assert_eq!(error, SchemaError::FeatureInUse { feature: "note", version: 2 });
        }
    }
}
