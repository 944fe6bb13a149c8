//! Handing back to a Ruby Einhorn (docs/handover.md): who is found fit, what is refused, and that
//! what is written for it is what it writes for itself.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use einhorn::decide::{Action, Event};
use einhorn::protocol::Reply;
use einhorn::ruby;
use einhorn::scalar::Scalar;
use einhorn::schema::Handover;
use einhorn::state::{
    AckMode, Address, Config, ConnectionId, ExitStatus, Family, Generation, Leftover, Monotonic,
    Pid, ReexecMode, Rollout, RolloutKind, Signal, State, UpgradeKind, Waiter, WaitsFor,
};
use serde_yaml::Value;

use crate::captures::{self, at};
use crate::example::{Master, config, ended, fit, requested};

/// What is written at the end of the capture's minute, loaded.
fn written(handover: &Handover) -> Value {
    serde_yaml::from_str(&ruby::write(handover, at(60_000_000_000)).unwrap()).unwrap()
}

fn manual() -> Handover {
    captures::all().swap_remove(0).handover
}

#[test]
fn every_capture_is_written_as_the_original_wrote_it() {
    for capture in captures::all() {
        let original: Value = serde_yaml::from_str(capture.document).unwrap();
        let ours = written(&capture.handover);
        for (key, value) in original[":state"].as_mapping().unwrap() {
            assert_eq!(ours[":state"][key], *value, "{} {key:?}", capture.name);
        }
        assert_eq!(ours, original, "{}", capture.name);
    }
}

#[test]
fn keys_come_in_the_originals_order() {
    let keys = |document: &str| -> Vec<String> {
        let symbols = document.lines().filter_map(|line| line.trim_start().split_once(": "));
        let symbols = symbols.map(|(key, _)| key.trim_start_matches("- ").to_owned());
        symbols.filter(|key| key.starts_with(':')).collect()
    };
    for capture in captures::all() {
        let ours = ruby::write(&capture.handover, at(0)).unwrap();
        assert_eq!(keys(&ours), keys(capture.document), "{}", capture.name);
    }
}

#[test]
fn the_keys_that_are_written_are_those_that_are_read() {
    let state = written(&manual())[":state"].clone();
    let keys = state.as_mapping().unwrap().keys().map(|key| key.as_str().unwrap().to_owned());
    // Up to 0.8 one had another name.
    let read = ruby::STATE_KEYS.iter().filter(|key| **key != "reloading_for_preload_upgrade");
    assert!(keys.eq(read.map(|key| format!(":{key}"))), "{state:?}");
}

#[test]
fn a_roll_out_under_way_goes_on_and_retries_stay_behind() {
    for (asked, under_way, is_smooth) in [
        (UpgradeKind::Reload, Some(RolloutKind::Smooth), true),
        (UpgradeKind::Reload, Some(RolloutKind::Fleet), false),
        (UpgradeKind::Fleet, Some(RolloutKind::Smooth), false),
        (UpgradeKind::Smooth, None, true),
    ] {
        let mut handover = captures::all().swap_remove(4).handover;
        handover.state.reexec.as_mut().unwrap().kind = asked;
        handover.state.rollout =
            under_way.map(|kind| Rollout::resumed(kind, Generation(0), Monotonic(0)));
        handover.state.config.retries = Some(3);
        let state = written(&handover)[":state"].clone();
        assert_eq!(state[":upgrading"], Value::from(under_way.is_some()));
        assert_eq!(state[":smooth_upgrade"], Value::from(is_smooth), "{asked:?} {under_way:?}");
        assert_eq!(state[":reloading_for_upgrade"], Value::from(asked != UpgradeKind::Reload));
        assert!(state[":config"].get(":retries").is_none());
    }
}

/// Who waits: on the first connection twice with an id and once without, on the second for the
/// re-exec, on the third without an id, with one that Ruby takes for none, and for as many workers
/// as are wanted.
#[test]
fn the_newest_id_of_a_connection_is_subscribed_and_the_others_are_told_now() {
    let mut handover = captures::all().swap_remove(4).handover;
    let first = handover.connections[0].id;
    let [second, third] = [10, 11].map(|number| captures::connect(&mut handover, number));
    handover.connections[1].output = b"owed\n".to_vec();
    let asks = [
        (first, Some(Scalar::Integer(8)), WaitsFor::Rollout),
        (first, None, WaitsFor::Upgrade),
        (second, Some(Scalar::Text("r".to_owned())), WaitsFor::Reexec),
        (third, None, WaitsFor::Upgrade),
        (third, Some(Scalar::Bool(false)), WaitsFor::Upgrade),
        (third, Some(Scalar::Integer(9)), WaitsFor::Settled),
    ];
    let waiters = asks.map(|(connection, request_id, waits_for)| Waiter {
        connection,
        request_id,
        waits_for,
        wants_events: false,
        until_drained: false,
        killed_count: 0,
    });
    handover.state.waiters.extend(waiters);
    let descriptors = written(&handover)[":persistent_descriptors"].clone();
    let subscribed = |index: usize| descriptors[index][":subscriptions"].clone();
    assert_eq!(subscribed(1)[":upgrade"], Value::from(8));
    assert!(subscribed(2).as_mapping().unwrap().is_empty());
    assert!(subscribed(3).as_mapping().unwrap().is_empty());
    let told = |index: usize| -> Vec<(Option<Scalar>, bool)> {
        let buffer = descriptors[index][":write_buffer"].as_str().unwrap();
        let lines = buffer.lines().filter(|line| *line != "owed");
        let replies = lines.map(|line| Reply::parse(line).unwrap());
        let replies = replies.inspect(|reply| assert!(reply.message.starts_with("Handed back: ")));
        replies.map(|reply| (reply.request_id, reply.wait)).collect()
    };
    assert_eq!(told(1), [(Some(Scalar::Integer(7)), false), (None, false)]);
    assert_eq!(told(2), [(Some(Scalar::Text("r".to_owned())), false)]);
    assert!(descriptors[2][":write_buffer"].as_str().unwrap().starts_with("owed\n"));
    let third = [None, Some(Scalar::Bool(false)), Some(Scalar::Integer(9))];
    assert_eq!(told(3), third.map(|id| (id, false)), "no upgrade is waited for with the last");
}

#[test]
fn bytes_that_are_no_text_are_written_as_they_are() {
    let mut handover = manual();
    let config = &mut handover.state.config;
    config.command.push(OsStr::from_bytes(b"\xff=1").to_owned());
    config.socket_path = OsStr::from_bytes(b"/run/\xe9.sock").into();
    handover.connections[0].input = b"{\"user\": \"\xc3\xa9".to_vec();
    handover.connections[0].output = b"\xff\n".to_vec();
    let ours = written(&handover);
    let binary = |value: &Value| match value {
        Value::Tagged(tagged) if tagged.tag == "!binary" => {
            tagged.value.as_str().unwrap().to_owned()
        }
        other => panic!("{other:?} is not binary"),
    };
    assert_eq!(binary(&ours[":state"][":cmd"][1]), "/z0x");
    assert_eq!(binary(&ours[":state"][":socket_path"]), "L3J1bi/pLnNvY2s=");
    let connection = &ours[":persistent_descriptors"][1];
    // Text, but the original cuts buffers by characters where it counts bytes.
    assert_eq!(binary(&connection[":read_buffer"]), "eyJ1c2VyIjogIsOp");
    assert_eq!(binary(&connection[":write_buffer"]), "/wo=");
}

#[test]
fn a_timer_of_an_ack_goes_by_how_long_a_worker_has_lived() {
    let mut handover = captures::all().swap_remove(2).handover;
    let seconds = |count: u64| count * 1_000_000_000;
    for worker in handover.state.workers.values_mut() {
        worker.spawned_at = at(seconds(2)).monotonic;
    }
    // The clock of the calendar was set an hour forward meanwhile.
    let mut now = at(seconds(10));
    now.realtime = at(seconds(3610)).realtime;
    let ours: Value = serde_yaml::from_str(&ruby::write(&handover, now).unwrap()).unwrap();
    let timer = &ours[":persistent_descriptors"][2];
    assert_eq!(timer[":start"], Value::from("2026-11-20 21:20:33.000000000 +00:00"));
    handover.state.config.ack_mode = AckMode::Timer(Duration::from_millis(250));
    assert_eq!(written(&handover)[":persistent_descriptors"][3][":time"], Value::from(0.25));
}

#[test]
fn what_is_missing_from_the_table_is_named() {
    let mut handover = manual();
    handover.descriptors.retain(|carried| carried.number != 9);
    assert_eq!(ruby::write(&handover, at(0)), Err("connection 29 is not open".to_owned()));
    handover.descriptors.clear();
    assert_eq!(ruby::write(&handover, at(0)), Err("the command socket is not open".to_owned()));
}

#[test]
fn what_reads_back_as_something_else_is_refused() {
    let other = |change: fn(&mut Handover)| {
        let mut handover = captures::all().swap_remove(4).handover;
        assert!(ruby::write(&handover, at(0)).is_ok());
        change(&mut handover);
        ruby::write(&handover, at(0)).unwrap_err()
    };
    let listener = other(|handover| handover.descriptors[0].number = 6);
    assert!(listener.contains("listeners"), "{listener}");
    let missing = other(|handover| handover.descriptors.retain(|one| one.number != 7));
    assert!(missing.contains("listeners"), "{missing}");
    let connection = other(|handover| handover.connections.clear());
    assert!(connection.contains("connections"), "{connection}");
}

#[test]
fn the_last_spawn_is_now_where_there_was_none() {
    let mut handover = manual();
    handover.state.last_spawned_on = None;
    let state = written(&handover)[":state"].clone();
    // The original counts from it as soon as a smooth upgrade begins.
    assert_eq!(state[":last_spinup"], Value::from("2026-11-20 20:21:31.000000000 +00:00"));
    let dumped: Value = serde_yaml::from_str(&ruby::dump(&handover.state)).unwrap();
    assert_eq!(dumped[":state"][":last_spinup"], Value::Null);
}

/// Its buffers: what it is written to go on with.
fn buffers(handover: &Handover, index: usize) -> [Value; 2] {
    let connection = &written(handover)[":persistent_descriptors"][index + 1];
    [":read_buffer", ":write_buffer"].map(|key| connection.get(key).cloned().unwrap_or_default())
}

#[test]
fn the_rest_of_a_line_that_is_too_long_is_no_command() {
    let mut handover = manual();
    handover.connections[0].is_discarding = true;
    assert_eq!(buffers(&handover, 0), [Value::from("]"), Value::Null]);
    handover.connections[0].input = b"\", \"command\": \"inc\"}\n{".to_vec();
    let kept = "]\", \"command\": \"inc\"}\n{";
    assert_eq!(buffers(&handover, 0), [Value::from(kept), Value::Null]);
}

#[test]
fn a_connection_that_is_closing_goes_on_for_what_it_is_owed_alone() {
    let mut handover = manual();
    let first = handover.connections[0].id;
    captures::connect(&mut handover, 10);
    handover.connections[0].is_closing = true;
    let sockets = |handover: &Handover| -> Vec<Value> {
        let descriptors = written(handover)[":persistent_descriptors"].clone();
        let descriptors = descriptors.as_sequence().unwrap().iter();
        descriptors.filter_map(|one| one.get(":socket").cloned()).collect()
    };
    assert_eq!(sockets(&handover), [Value::from(10)], "{first:?} has all that it is owed");
    handover.connections[0].output = b"owed\n".to_vec();
    assert_eq!(sockets(&handover), [Value::from(9), Value::from(10)]);
    let owed = Value::from("owed\n");
    for (input, read) in [("", Value::Null), ("a\n", Value::Null), ("a\nb", Value::from("]"))] {
        handover.connections[0].input = input.into();
        assert_eq!(buffers(&handover, 0), [read, owed.clone()], "{input:?}");
    }
}

/// Listeners of every kind: the first is one that the original knows.
fn with_every_listener(master: &mut Master) {
    let known = manual().state.listeners.remove(0);
    let host = || "::1".to_owned();
    let unix = Address::Unix { path: "/run/w".into(), mode: None, owner: None, group: None };
    let others = [
        (Address::Tcp { host: host(), port: 80 }, Family::Inet6),
        (Address::Udp { host: "127.0.0.1".to_owned(), port: 53 }, Family::Inet),
        (unix, Family::Unix),
    ];
    master.state.listeners = vec![known.clone()];
    for (address, family) in others {
        let mut listener = known.clone();
        listener.bind.address = address;
        listener.family = family;
        master.state.listeners.push(listener);
    }
}

fn connected(config: Config) -> Master {
    let mut master = Master::started(config);
    master.turn_at(1000);
    master.tell(Event::Opened { connection: ConnectionId(1) });
    master
}

/// What a client hears of an event, and whether it is the last of it.
fn heard(actions: &[Action]) -> Vec<(bool, &str)> {
    let replies = actions.iter().filter_map(|action| match action {
        Action::Reply { reply, .. } => Some((!reply.wait, reply.message.as_str())),
        _ => None,
    });
    replies.collect()
}

#[test]
fn what_it_cannot_hold_is_refused_by_name_before_anything_is_asked() {
    let mut master = connected(config(1));
    with_every_listener(&mut master);
    let actions = master.ask("{command: upgrade, args: [--to-ruby], id: 1}");
    let why = "Not handing back: a Ruby Einhorn cannot hold the listener [::1]:80, the listener \
               udp:127.0.0.1:53, the listener unix:/run/w; start the master without";
    assert_eq!(heard(&actions), [(true, why)]);
    assert_eq!((actions.len(), master.state.reexec), (1, None));
    let mut handover = manual();
    handover.state.listeners = master.state.listeners;
    assert!(ruby::write(&handover, at(0)).unwrap_err().contains("unix:/run/w"));
}

#[test]
fn what_will_be_different_is_told() {
    let reexec_mode = ReexecMode::Pinned;
    let config = Config { retries: Some(2), syslog: true, reexec_mode, ..config(1) };
    let mut master = connected(config);
    let left = Leftover { count: 1, ..Leftover::default() };
    master.state.leftovers.insert(Pid(999), left);
    let actions = master.ask("{command: reload, args: [--to-ruby]}");
    let told = heard(&actions);
    assert_eq!(told[0], (false, "Reloading, as commanded"));
    for (index, option) in (1..).zip(["--retries", "--syslog", "--reexec-mode", "left running"]) {
        assert!(told[index].1.contains(option), "{told:?}");
    }
    assert!(matches!(actions.last(), Some(Action::StartPreflight)), "{actions:?}");
    let mut plain = connected(Config { retries: Some(2), ..crate::example::config(1) });
    assert_eq!(heard(&plain.ask("{command: reload}")).len(), 1);
}

#[test]
fn any_other_argument_is_named() {
    for (args, unknown) in [("[--to-rubi]", "--to-rubi"), ("[--to-ruby, 7]", "7")] {
        let mut master = connected(config(1));
        for command in ["reload", "upgrade", "upgrade_fleet"] {
            let actions = master.ask(&format!("{{command: {command}, args: {args}}}"));
            let known = if command == "reload" { "--to-ruby" } else { "--to-ruby or --drained" };
            let why = format!("{command} takes no argument but {known}, and was given");
            assert_eq!(heard(&actions), [(true, format!("{why} {unknown:?}").as_str())]);
            assert_eq!(master.state.reexec, None);
        }
    }
}

/// What the check of a Ruby Einhorn says that runs in the process 2000.
const RUBY: &str =
    "warning\n[MASTER 2000] INFO: Running under Ruby 3.1.2\n[MASTER 2000] INFO: Using";

#[test]
fn a_hand_back_wants_a_ruby_einhorn_in_the_process_that_was_started() {
    let killed = ExitStatus::Killed { number: 9, signal: None, core_dumped: false };
    let child = RUBY.replace("2000", "2001");
    for (status, report, words, why) in [
        (ExitStatus::Code(0), None, RUBY, None),
        (ExitStatus::Code(0), None, "no newline[MASTER 2000] INFO: Running under Ruby 4", None),
        (ExitStatus::Code(0), None, "", Some("runs no Ruby Einhorn")),
        (ExitStatus::Code(0), None, "Running under Ruby 3", Some("its last output: Running under")),
        (ExitStatus::Code(0), None, "[MASTER x] INFO: Running under Ruby 3", Some("runs no Ruby")),
        (ExitStatus::Code(0), None, &child, Some("as a child (pid 2001 instead of 2000)")),
        (ExitStatus::Code(1), None, RUBY, Some("check of the new release failed (exit status 1)")),
        (killed, None, RUBY, Some("check of the new release failed (killed by signal 9)")),
        (ExitStatus::Code(0), Some(fit()), RUBY, Some("einhorn 9.9.9, which is no Ruby Einhorn")),
    ] {
        let mut master = connected(config(1));
        master.ask("{command: upgrade, args: [--to-ruby]}");
        master.tell(Event::PreflightStarted { pid: Pid(2000), deployment: None });
        let actions = master.tell(ended(status, report, words));
        let Some(why) = why else {
            assert!(actions.contains(&Action::HandBack), "{actions:?}");
            assert!(master.state.reexec.is_some_and(|reexec| reexec.is_hand_back));
            continue;
        };
        assert!(!actions.contains(&Action::HandBack), "{words}");
        let told = heard(&actions);
        assert!(told[0].0 && told[0].1.contains(why), "{told:?}");
        assert_eq!(master.state.reexec, None);
    }
    let cut = ruby::candidate_error("[MASTER 7] INFO: Using Bundler 2", Pid(7), true).unwrap();
    assert!(cut.contains("or writes too much after it"), "{cut}");
}

#[test]
fn a_silent_check_that_took_too_long_is_refused() {
    let mut master = connected(config(1));
    master.ask("{command: upgrade, args: [--to-ruby]}");
    master.tell(Event::PreflightStarted { pid: Pid(2000), deployment: None });
    master.turn_at(100_000);
    let actions = master.tell(ended(ExitStatus::Code(0), None, RUBY));
    assert!(heard(&actions)[0].1.contains("took longer than"), "{actions:?}");
    assert_eq!(master.state.reexec, None);
}

#[test]
fn others_join_a_hand_back_and_it_joins_no_other() {
    let mut master = connected(config(1));
    master.ask("{command: reload, args: [--to-ruby]}");
    assert_eq!(master.signal(Signal::Hup), []);
    master.ask("{command: upgrade_fleet}");
    master.ask("{command: reload, args: [--to-ruby]}");
    let reexec = master.state.reexec.unwrap();
    assert_eq!((reexec.kind, reexec.is_hand_back), (UpgradeKind::Fleet, true));
    assert_eq!(master.state.waiters.len(), 3);

    let mut master = connected(config(1));
    master.ask("{command: upgrade}");
    let actions = master.tell(requested(1, "{command: upgrade, args: [--to-ruby]}"));
    let told = heard(&actions);
    assert!(told[0].0 && told[0].1.contains("under way; ask again after it"), "{told:?}");
    assert!(!master.state.reexec.unwrap().is_hand_back);
    assert_eq!(master.state.waiters.len(), 1);
}

#[test]
fn a_hand_back_that_fails_leaves_nothing_of_it() {
    let mut master = connected(config(1));
    let before = master.state.clone();
    master.ask("{command: upgrade, args: [--to-ruby]}");
    master.tell(Event::PreflightStarted { pid: Pid(2000), deployment: None });
    master.tell(ended(ExitStatus::Code(0), None, RUBY));
    let actions = master.tell(Event::HandOverFailed { why: "no such file".to_owned() });
    let told = "Could not upgrade, and went on as before: no such file";
    assert_eq!(heard(&actions), [(true, told)]);
    assert_eq!(State { last_upgrade: None, ..master.state }, before);
}

#[test]
fn who_waits_for_old_workers_cannot_ask_a_ruby_einhorn() {
    let mut master = connected(config(1));
    let told = master.ask("{command: upgrade, args: [--drained, --to-ruby]}");
    assert_eq!(heard(&told), [(true, "upgrade takes one of --to-ruby and --drained, not both")]);
    let told = master.ask("{command: reload, args: [--drained]}");
    let why = "reload takes no argument but --to-ruby, and was given \"--drained\"";
    assert_eq!(heard(&told), [(true, why)]);
}
