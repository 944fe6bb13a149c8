//! What einhornsh tells of a command while it goes on, and the exit status that it ends with.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use einhorn::outcome::Outcome;
use einhorn::protocol::{Args, ProgressStage};
use nix::sys::signal::{SigHandler, Signal, signal};
use serde_json::{Value, json};

use crate::shell::sessions::{outcome, run, shell};
use crate::support::fake_master::{Say, ends, failed, goes, master};
use crate::support::json_schema::breach;
use crate::support::rig::{Rig, prepare, send};
use crate::support::terminal::Terminal;

crate::tests![
    each_outcome_is_an_exit_status_and_its_lines_are_told,
    what_failed_is_told_with_its_last_words,
    of_several_commands_the_first_bad_status_counts,
    events_are_asked_for_and_the_words_of_the_shell_are_kept_from_the_master,
    json_is_what_the_master_sent_and_what_became_of_the_client,
    who_detaches_waits_for_the_first_answer_only,
    a_time_that_is_over_ends_the_waiting_and_nothing_else,
    masters_without_events_are_judged_by_their_last_words,
    a_master_that_goes_away_ends_it,
    output_that_nobody_reads_changes_no_exit_status,
    bad_options_are_usage_and_nobody_is_spoken_to,
    a_terminal_gets_one_live_line_cut_to_its_width,
    the_seconds_of_the_live_line_run_without_news,
    colours_are_for_terminals_that_want_them,
    a_terminal_that_can_do_nothing_gets_plain_lines,
    who_leaves_a_live_line_is_on_a_line_of_his_own,
    a_conversation_outlives_what_fails,
];

/// A client of a master that is played; its exit status, what it printed and complained of.
fn told(script: Vec<Say>, arguments: &[&str]) -> (Option<i32>, String, String) {
    let rig = Rig::new();
    let master = master(&rig, script);
    let told = run(&rig, arguments);
    master.join().unwrap();
    told
}

/// The script of an upgrade.
fn upgrade(end: Say) -> Vec<Say> {
    vec![
        goes(ProgressStage::Preflight, "Upgrading, as commanded"),
        goes(ProgressStage::Rollout, "===> Launched 17 (slot 4)"),
        end,
    ]
}

fn each_outcome_is_an_exit_status_and_its_lines_are_told() {
    let statuses = [0, 2, 3, 4, 5, 6, 6, 7];
    for (due, status) in Outcome::ALL.iter().zip(statuses) {
        let script = upgrade(ends(*due, "So it ended"));
        let (code, stdout, stderr) = told(script, &["-e", "upgrade"]);
        assert_eq!((code, stderr.as_str()), (Some(status), ""), "{due}");
        let lines = "Upgrading, as commanded\n===> Launched 17 (slot 4)\nSo it ended\n";
        assert_eq!(stdout, lines, "{due}");
    }
}

fn what_failed_is_told_with_its_last_words() {
    let (code, stdout, _) = told(vec![failed("Upgrade failed: it dies")], &["-e", "upgrade"]);
    assert_eq!(code, Some(4));
    assert_eq!(
        stdout,
        "Upgrade failed: it dies\n\
         worker 17 (slot 4): exit status 3, 0.120s old\n    Traceback:\n      \x1b[2Jno module\n\
         a worker (slot 5): cannot execute bin/server: No such file or directory, 0.000s old\n"
    );
}

fn of_several_commands_the_first_bad_status_counts() {
    let script = vec![
        ends(Outcome::Done, "one"),
        ends(Outcome::Failed, "two"),
        ends(Outcome::Aborted, "three"),
        ends(Outcome::Done, "four"),
    ];
    let (code, stdout, _) = told(script.clone(), &["-e", "inc; upgrade", "-e", "wait; dec"]);
    assert_eq!((code, stdout.as_str()), (Some(4), "one\ntwo\nthree\nfour\n"));
    // The master goes away after the fourth.
    let (code, stdout, stderr) = told(script, &["-e", "inc; upgrade; wait; dec; inc"]);
    assert_eq!((code, stdout.lines().count()), (Some(4), 4));
    assert!(stderr.starts_with("einhornsh: lost the connection"), "{stderr}");
}

fn events_are_asked_for_and_the_words_of_the_shell_are_kept_from_the_master() {
    let rig = Rig::new();
    let script = vec![ends(Outcome::Done, ""), ends(Outcome::Done, "")];
    let master = master(&rig, script);
    let line = "die --json SIGQUIT --timeout 60 --wait; upgrade --timeout=9 --to-ruby --detach";
    let (code, _, stderr) = run(&rig, &["-e", line]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    let requests = master.join().unwrap();
    assert!(requests.iter().all(|request| request.wants_events));
    let args = |index: usize| requests[index].args.clone();
    assert_eq!(args(0), Args::List(vec!["SIGQUIT".to_owned(), "--wait".to_owned()]));
    assert_eq!(args(1), Args::List(vec!["--to-ruby".to_owned()]));
}

/// Lines of JSON, each of which is an event.
fn objects(stdout: &str) -> Vec<Value> {
    const SCHEMA: &str = include_str!("../../../docs/events.schema.json");
    let object = |line| {
        assert_eq!(breach(SCHEMA, line), None);
        serde_json::from_str(line).unwrap()
    };
    stdout.lines().map(object).collect()
}

fn json_is_what_the_master_sent_and_what_became_of_the_client() {
    let script = [upgrade(failed("Upgrade failed")), vec![Say::Words("hello\n", false)]].concat();
    let sent: Vec<String> = script.iter().filter_map(Say::event).collect();
    let (code, stdout, stderr) = told(script, &["--json", "-e", "upgrade; louder; inc"]);
    assert_eq!(code, Some(4));
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!(lines[..3], sent);
    let objects = objects(&stdout);
    assert_eq!(objects[3], json!({"event": "message", "message": "hello\n"}));
    assert_eq!((&objects[4]["event"], &objects[4]["outcome"]), (&json!("end"), &json!("lost")));
    assert_eq!(objects[4]["exit_status"], 1);
    assert!(stderr.contains(objects[4]["message"].as_str().unwrap()), "{stderr}");
    for (arguments, outcome, status) in [
        (&["-e", "upgrade --json"][..], "unreachable", 1),
        (&["-e", "upgrade 'x", "--json"], "not_understood", 2),
    ] {
        let (code, stdout, stderr) = run(&Rig::new(), arguments);
        assert_eq!(code, Some(status), "{stderr}");
        let end = &self::objects(&stdout)[0];
        assert_eq!((&end["outcome"], &end["exit_status"]), (&json!(outcome), &json!(status)));
        assert!(stderr.contains(end["message"].as_str().unwrap()), "{stderr}");
    }
}

fn who_detaches_waits_for_the_first_answer_only() {
    let first = goes(ProgressStage::Preflight, "Upgrading, as commanded");
    let event = first.event().unwrap();
    for (arguments, printed) in [
        (&["-e", "upgrade --detach"][..], "Upgrading, as commanded"),
        (&["--detach", "-e", "upgrade"], "Upgrading, as commanded"),
        (&["--detach", "--json", "-e", "upgrade"], &event),
    ] {
        let (code, stdout, stderr) = told(vec![first.clone(), Say::Nothing], arguments);
        assert_eq!((code, stderr.as_str()), (Some(0), ""));
        assert_eq!(stdout, format!("{printed}\n"));
    }
    let refused = ends(Outcome::Refused, "Not upgrading: the master is going down");
    let (code, stdout, _) = told(vec![refused], &["-e", "upgrade --detach"]);
    let line = "Not upgrading: the master is going down\n";
    assert_eq!((code, stdout.as_str()), (Some(3), line));
    // What still comes of it is nobody's answer.
    let script = vec![first, ends(Outcome::Done, "Upgrade done"), ends(Outcome::Done, "one more")];
    let (code, stdout, _) = told(script, &["-e", "upgrade --detach; inc"]);
    assert_eq!((code, stdout.as_str()), (Some(0), "Upgrading, as commanded\none more\n"));
}

/// Long enough for the first answer to arrive, on any machine.
const TIMEOUT: &str = "2";

fn a_time_that_is_over_ends_the_waiting_and_nothing_else() {
    std::thread::scope(|scope| {
        for (first, parts) in [
            (goes(ProgressStage::Rollout, "x"), &["the upgrade continues", "wait`", "abort`"][..]),
            (goes(ProgressStage::Settling, "x"), &["it continues"]),
            (Say::Words("x", true), &["it continues"]),
        ] {
            scope.spawn(move || {
                let rig = Rig::new();
                let master = master(&rig, vec![first, Say::Nothing]);
                let socket = rig.socket();
                let socket = socket.to_str().unwrap();
                let arguments = ["-d", socket, "-e", "upgrade", "--timeout", TIMEOUT];
                let (code, stdout, stderr) = run(&rig, &arguments);
                assert_eq!((code, stdout.as_str()), (Some(5), "x\n"), "{stderr}");
                assert!(stderr.starts_with("einhornsh: not finished within 2s"), "{stderr}");
                for part in parts {
                    assert!(stderr.contains(part), "no {part:?} in {stderr}");
                }
                let address = format!("`einhornsh -d {socket} -e ");
                assert_eq!(stderr.matches(&address).count(), parts.len() - 1, "{stderr}");
                master.join().unwrap();
            });
        }
        scope.spawn(|| {
            let script = vec![goes(ProgressStage::Rollout, "x"), Say::Nothing];
            let timeout = format!("--timeout={TIMEOUT}");
            let (code, stdout, _) = told(script, &["--json", &timeout, "-e", "upgrade"]);
            assert_eq!((code, &objects(&stdout)[1]["outcome"]), (Some(5), &json!("not_waited")));
        });
    });
    let (code, stdout, stderr) = told(vec![Say::Nothing], &["-e", "inc --timeout 0.1 --json"]);
    assert_eq!(code, Some(5), "{stderr}");
    assert_eq!(objects(&stdout)[0]["outcome"], "not_waited");
    assert!(stderr.contains("did not reply in time"), "{stderr}");
}

fn masters_without_events_are_judged_by_their_last_words() {
    for (command, last, status) in [
        ("upgrade", "Upgrade done", 0),
        ("upgrade_fleet", "Upgrade done: it is still 1 / 2 short", 0),
        ("reload", "Reload done: einhorn 0.1.0", 0),
        ("reload", "Reloading, as commanded", 0),
        ("upgrade", "Not upgrading: the check of the new release failed", 3),
        ("upgrade", "Not handing back: a Ruby Einhorn cannot hold it", 3),
        ("reload", "Could not upgrade, and went on as before: EACCES", 3),
        ("upgrade", "Rolled back, this release goes on: it fails", 7),
        ("upgrade", "Giving up after 3 consecutive deaths", 4),
        ("wait", "Unrecognized command: \"wait\"\n\nThese commands are available:", 2),
        ("dec", "Can't decrease number of workers (already at 1)", 0),
    ] {
        let script = vec![Say::Words("It goes on", true), Say::Words(last, false)];
        let (code, stdout, _) = told(script, &["-e", command]);
        assert_eq!(code, Some(status), "{command}: {last}");
        assert_eq!(stdout, format!("It goes on\n{last}\n"));
    }
}

fn a_master_that_goes_away_ends_it() {
    let rig = Rig::new();
    let listener = std::os::unix::net::UnixListener::bind(rig.socket()).unwrap();
    let gone = std::thread::spawn(move || drop(listener.accept().unwrap()));
    let (code, stdout, stderr) = run(&rig, &["-e", "upgrade"]);
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert!(stderr.contains("lost the connection"), "{stderr}");
    gone.join().unwrap();
}

fn output_that_nobody_reads_changes_no_exit_status() {
    let rig = Rig::new();
    let master = master(&rig, upgrade(failed("Upgrade failed")));
    let (reader, writer) = nix::unistd::pipe().unwrap();
    drop(reader);
    let mut command = shell(&rig, &["-e", "upgrade"]);
    let (code, _, stderr) = outcome(command.stdout(writer).output().unwrap());
    assert_eq!((code, stderr.as_str()), (Some(4), ""));
    master.join().unwrap();
}

fn bad_options_are_usage_and_nobody_is_spoken_to() {
    for (arguments, part) in [
        (&["--timeout", "0", "-e", "inc"][..], "--timeout"),
        (&["--timeout", "-e", "inc"], "--timeout"),
        (&["--watch=often", "-e", "status"], "--watch"),
        (&["-e", "inc", "-e", "upgrade --timeout soon"], "--timeout \"soon\": must be a number"),
        (&["-e", "upgrade --timeout"], "--timeout \"\": must be a number"),
    ] {
        let (code, stdout, stderr) = run(&Rig::new(), arguments);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{stderr}");
        assert!(stderr.contains(part), "{stderr}");
    }
}

/// The live lines, one for each time that it was drawn.
fn live_lines(shown: &str) -> Vec<&str> {
    let lines = shown.split("\x1b[?7l").skip(1);
    lines.map(|rest| rest.split("\x1b[?7h").next().unwrap()).collect()
}

fn a_terminal_gets_one_live_line_cut_to_its_width() {
    let rig = Rig::new();
    let master = master(&rig, upgrade(failed("Upgrade failed: it dies")));
    let (terminal, mut child) = Terminal::with_size(shell(&rig, &["-e", "upgrade"]), 40, 24);
    assert_eq!(terminal.ended(&mut child).code(), Some(4));
    master.join().unwrap();
    terminal.until_shown("a worker (slot 5)");
    let shown = terminal.shown();
    let lines = live_lines(&shown);
    assert!(lines.len() >= 2, "{shown:?}");
    assert_eq!(lines[0], "preflight: 1s | Upgrading, as commanded");
    assert!(lines.iter().all(|line| line.chars().count() == 39), "{lines:?}");
    // Each is erased by what comes after it, the last one by the end.
    assert_eq!(shown.matches("\x1b[A\r\x1b[J").count(), lines.len(), "{shown:?}");
    let end = shown.rsplit("\x1b[J").next().unwrap().replace('\r', "");
    assert_eq!(
        end,
        "\x1b[31mUpgrade failed: it dies\x1b[0m\n\
         worker 17 (slot 4): exit status 3, 0.120s old\n    Traceback:\n      \
         \\u{1b}[2Jno module\n\
         a worker (slot 5): cannot execute bin/server: No such file or directory, 0.000s old\n"
    );
}

fn the_seconds_of_the_live_line_run_without_news() {
    let rig = Rig::new();
    let master = master(&rig, vec![goes(ProgressStage::Canary, "Alone"), Say::Nothing]);
    let arguments = ["-e", "upgrade --timeout 60"];
    let (terminal, mut child) = Terminal::of(shell(&rig, &arguments));
    for seconds in ["1s", "2s"] {
        terminal.until_shown(&format!("canary: 1/4 up, 3 old left, {seconds} | Alone"));
    }
    child.kill().unwrap();
    terminal.ended(&mut child);
    master.join().unwrap();
}

fn colours_are_for_terminals_that_want_them() {
    for (variable, value, is_coloured) in
        [("NO_COLOR", "1", false), ("NO_COLOR", "", true), ("COLUMNS", "80", true)]
    {
        let rig = Rig::new();
        let master = master(&rig, upgrade(ends(Outcome::Done, "Upgrade done")));
        let mut command = shell(&rig, &["-e", "upgrade"]);
        command.env_remove("NO_COLOR").env(variable, value);
        let (terminal, mut child) = Terminal::of(command);
        assert!(terminal.ended(&mut child).success());
        master.join().unwrap();
        terminal.until_shown("Upgrade done");
        let coloured = "\x1b[32mUpgrade done\x1b[0m";
        assert_eq!(terminal.shown().contains(coloured), is_coloured, "{variable}={value}");
    }
}

fn a_terminal_that_can_do_nothing_gets_plain_lines() {
    let rig = Rig::new();
    let master = master(&rig, upgrade(failed("Upgrade failed: it dies")));
    let mut command = shell(&rig, &["-e", "upgrade"]);
    command.env("TERM", "dumb");
    let (terminal, mut child) = Terminal::of(command);
    assert_eq!(terminal.ended(&mut child).code(), Some(4));
    master.join().unwrap();
    terminal.until_shown("a worker (slot 5)");
    let shown = terminal.shown();
    assert!(shown.starts_with("Upgrading, as commanded\r\n===> Launched 17"), "{shown}");
    assert!(!shown.contains('\x1b'), "{shown:?}");
}

fn who_leaves_a_live_line_is_on_a_line_of_his_own() {
    let rig = Rig::new();
    let master = master(&rig, vec![goes(ProgressStage::Canary, "Alone"), Say::Nothing]);
    let mut command = shell(&rig, &["-e", "upgrade"]);
    interruptible(&mut command);
    let (terminal, mut child) = Terminal::of(command);
    let live = "| Alone\x1b[?7h\r\n";
    terminal.until_shown(live);
    send(i32::try_from(child.id()).unwrap(), Signal::SIGINT);
    assert_eq!(terminal.ended(&mut child).signal(), Some(Signal::SIGINT as i32));
    master.join().unwrap();
    let shown = terminal.shown();
    assert!(shown.ends_with(live), "{shown:?}");
}

/// A test that runs in the background of a script has SIGINT ignored.
fn interruptible(command: &mut Command) {
    prepare(command, || {
        // SAFETY: the default of a signal runs no code.
        unsafe { signal(Signal::SIGINT, SigHandler::SigDfl) }?;
        Ok(())
    });
}

fn a_conversation_outlives_what_fails() {
    let rig = Rig::new();
    let script = [
        vec![ends(Outcome::Done, "Welcome, you")],
        upgrade(failed("Upgrade failed: it dies")),
        vec![ends(Outcome::NotUnderstood, "What?")],
    ];
    let master = master(&rig, script.concat());
    let (mut terminal, mut child) = Terminal::of(shell(&rig, &[]));
    for (seen, typed) in [
        ("> ", "upgrade\r"),
        ("a worker (slot 5)", "nonsense --timeout x\r"),
        ("must be a number of seconds", "nonsense\r"),
        ("What?", "exit\r"),
        ("Goodbye!", ""),
    ] {
        terminal.until_shown(seen);
        terminal.type_in(typed);
    }
    assert!(terminal.ended(&mut child).success(), "{}", terminal.shown());
    master.join().unwrap();
}
