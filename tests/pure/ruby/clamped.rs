//! What the original runs with and ours does not, and what a client chose: neither keeps a master
//! from being taken over.

use std::time::Duration;

use einhorn::scalar::Scalar;
use einhorn::state::{AckMode, Config, Monotonic, Pid, WaitsFor};

use super::{NOW_NS, capture, state, taken};

/// The options after an edit, and what the log says of it, once each.
fn clamped(from: &str, to: &str) -> (Config, String) {
    let whole = capture("manual");
    let document = whole.replacen(from, to, 1);
    assert_ne!(document, whole, "{from:?} is not there");
    let _ = state(&document);
    let taken = taken(&document);
    assert_eq!(taken.notes.len(), 1, "{to}: {:?}", taken.notes);
    (taken.handover.state.config, taken.notes[0].clone())
}

#[test]
fn values_out_of_our_bounds_become_the_nearest() {
    let timer = ":type: :timer\n    :timeout: ";
    for (mode, after) in [("-1", 0.0), ("-0.5", 0.0), ("1.0e+300", 1e9)] {
        let (config, note) = clamped(":type: :manual", &format!("{timer}{mode}"));
        assert_eq!(config.ack_mode, AckMode::Timer(Duration::from_secs_f64(after)), "{note}");
        assert!(note.contains("`:state: :ack_mode: :timeout:`"), "{note}");
    }
    for seconds in ["0", "-1", "-0.25"] {
        let (config, note) = clamped(":seconds: 1", &format!(":seconds: {seconds}"));
        assert_eq!(config.respawn_interval, Duration::from_secs(1));
        assert!(note.contains("`:state: :config: :seconds:`"), "{note}");
    }
    for (given, backlog) in [("-5", i32::MAX.unsigned_abs()), ("0", 1), ("99999999999", 1 << 31)] {
        let (config, note) = clamped(":backlog: 1024", &format!(":backlog: {given}"));
        assert_eq!(config.backlog, backlog.min(i32::MAX.unsigned_abs()), "{given}");
        assert!(note.contains(":backlog:`"), "{note}");
    }
    let (config, note) = clamped(":master:", ":master: -40");
    assert_eq!(config.nice.master, Some(-20), "{note}");
    let (config, note) = clamped(":worker:\n", ":worker: 99\n");
    assert_eq!(config.nice.worker, Some(19), "{note}");
    let (config, note) = clamped(":seconds: 1", ":seconds: 1\n    :max_upgrade_additional: 0");
    assert_eq!(config.max_upgrade_additional, Some(1), "{note}");
    let (config, note) = clamped(":signal_timeout:", ":signal_timeout: -1");
    assert_eq!(config.signal_timeout, Some(Duration::ZERO), "{note}");
}

#[test]
fn timers_that_are_negative_ring_at_once() {
    let document = capture("timer-pending").replace(":time: 30.0", ":time: -1");
    let document = document.replace(":timeout: 30.0", ":timeout: -1");
    let state = state(&document);
    for worker in state.workers.values() {
        let due = worker.ack_due_at(state.config.ack_mode).unwrap();
        assert!(due <= Monotonic(NOW_NS), "{due:?}");
    }
}

/// Ids that are no scalar of ours.
const ODD: [&str; 5] =
    ["{a: 1}", "[1, 2]", "!ruby/object:Set {hash: {1: true}}", "[]", "!binary /w=="];

#[test]
fn an_id_that_is_no_scalar_is_left_out_and_nothing_else_is() {
    let whole = capture("upgrade-smooth");
    let at = "    :index: 0\n";
    let at = if whole.contains(at) { at } else { "      :index: 0\n" };
    assert!(whole.contains(at) && whole.contains(":upgrade: 7"));
    let pinged = "      :pinged_at: 2026-11-20 20:20:36.0 +00:00\n      :pinged_request_id: ";
    for id in ODD {
        let document = whole.replacen(":upgrade: 7", &format!(":upgrade: {id}"), 1);
        let document = document.replacen(at, &format!("{at}{pinged}{id}\n"), 1);
        let state = state(&document);
        let waits: Vec<_> = state.waiters.iter().map(|w| (w.waits_for, &w.request_id)).collect();
        assert_eq!(waits, [(WaitsFor::Upgrade, &None)], "{id}");
        let ping = state.workers[&Pid(12010)].ping.clone().unwrap();
        assert_eq!(ping.request_id, None, "{id}");
        let notes = taken(&document).notes;
        assert_eq!(notes.len(), 2, "{notes:?}");
        assert!(notes.iter().any(|note| note.contains(":pinged_request_id:`")), "{notes:?}");
        assert!(notes.iter().any(|note| note.contains(":upgrade:`")), "{notes:?}");
    }
    let state = state(&whole);
    assert_eq!(state.waiters[0].request_id, Some(Scalar::Integer(7)));
}
