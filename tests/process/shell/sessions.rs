//! einhornsh.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::process::{Command, Output, Stdio};

use crate::support::last_line::is_done;
use crate::support::rig::Rig;
use crate::support::terminal::Terminal;

crate::tests![
    commands_are_carried_out_in_order_and_their_messages_printed,
    arguments_are_shell_words,
    lines_come_from_standard_input_when_that_is_no_terminal,
    a_failed_connect_names_the_socket_and_gives_a_hint,
    a_name_leads_to_its_socket,
    an_upgrade_is_told_to_its_end_as_sidekiqs_unit_file_asks_for_it,
    wrong_usage_is_refused_and_nothing_sent,
    a_connection_that_is_lost_is_told,
    output_that_nobody_wants_is_no_failure,
    a_terminal_gets_a_prompt_completion_and_a_history,
];

/// `einhornsh` with these arguments.
pub(crate) fn shell(rig: &Rig, arguments: &[&str]) -> Command {
    let mut command = rig.command(env!("CARGO_BIN_EXE_einhornsh"));
    command.args(arguments).env("HOME", rig.path("")).env_remove("XDG_STATE_HOME");
    command.env("TERM", "xterm");
    command
}

/// Its exit status, what it printed and what it complained of.
pub(crate) fn outcome(output: Output) -> (Option<i32>, String, String) {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

pub(crate) fn run(rig: &Rig, arguments: &[&str]) -> (Option<i32>, String, String) {
    outcome(shell(rig, arguments).output().unwrap())
}

/// The same with these lines on standard input.
fn run_with(rig: &Rig, arguments: &[&str], input: &[u8]) -> (Option<i32>, String, String) {
    let mut command = shell(rig, arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // One that is gone needs no more.
    let _ = child.stdin.take().unwrap().write_all(input);
    outcome(child.wait_with_output().unwrap())
}

fn commands_are_carried_out_in_order_and_their_messages_printed() {
    let rig = Rig::new();
    let _master = rig.launch(rig.einhorn(&["sleep", "1000"]));
    let (code, stdout, stderr) = run(&rig, &["-e", "inc; inc", "-e", "dec;; nonsense;"]);
    assert_eq!((code, stderr.as_str()), (Some(2), ""));
    let lines: Vec<&str> = stdout.lines().take(4).collect();
    assert_eq!(
        lines,
        [
            "Incrementing number of workers from 1 -> 2",
            "Incrementing number of workers from 2 -> 3",
            "Decrementing number of workers from 3 -> 2",
            "Unrecognized command: \"nonsense\"",
        ]
    );
    assert_eq!(run(&rig, &["-e", "inc; quit; inc"]).1.lines().count(), 1);
}

fn arguments_are_shell_words() {
    let rig = Rig::new();
    let master = rig.launch(rig.einhorn(&["-m", "0", "sleep", "1000"]));
    for (line, told, status) in [
        ("config '{seconds: 2; x}'", "must be a number of seconds, not 2; x", 2),
        ("config '{seconds: 2}' # ; dec", "Changed seconds to 2", 0),
        ("set_workers \"3\"", "Altering worker count, 1 -> 3.", 0),
        ("signal a\\;b", "Invalid signal: \"a;b\"", 2),
        ("signal '100% ü'", "Invalid signal: \"100% ü\"", 2),
        ("signal 'a\nb'", "Invalid signal: \"a\\nb\"", 2),
        ("signal WINCH sigcont", "Successfully sent CONTs to 3", 0),
    ] {
        let (code, stdout, stderr) = run(&rig, &["-e", line]);
        assert_eq!((code, stderr.as_str()), (Some(status), ""), "{line}");
        assert!(stdout.contains(told), "{line}: {stdout}");
        master.until("three workers", || {
            let state = master.state();
            let wanted = state[":config"][":number"].as_u64();
            (wanted == u64::try_from(master.workers().len()).ok()).then_some(())
        });
    }
}

fn lines_come_from_standard_input_when_that_is_no_terminal() {
    let rig = Rig::new();
    let _master = rig.launch(rig.einhorn(&["sleep", "1000"]));
    let (code, stdout, stderr) = run_with(&rig, &[], b"inc\n\n# inc\ninc; dec");
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert_eq!(stdout.lines().count(), 3, "{stdout}");
    let (code, stdout, _) = run_with(&rig, &[], b"exit\ninc\n");
    assert_eq!((code, stdout.as_str()), (Some(0), ""));
    let (code, stdout, stderr) = run_with(&rig, &[], b"inc\n\xff\ninc\n");
    assert_eq!((code, stdout.lines().count()), (Some(2), 1), "{stdout}");
    assert!(stderr.contains("cannot read standard input"), "{stderr}");
}

fn a_failed_connect_names_the_socket_and_gives_a_hint() {
    let rig = Rig::new();
    drop(UnixListener::bind(rig.path("dead.sock")).unwrap());
    fs::write(rig.path("plain"), "").unwrap();
    for (arguments, socket, why) in [
        (&[][..], "einhorn.sock", "no such file; is einhorn running?"),
        (&["web"], "einhorn-web.sock", "no such file"),
        (&["-c", "web"], "einhorn-web.sock", "no such file"),
        (&["-d", "dead.sock"], "dead.sock", "nothing is listening there"),
        (&["-d", "plain"], "plain", "not a socket"),
    ] {
        let (code, stdout, stderr) = run(&rig, &[arguments, &["-e", "inc"]].concat());
        assert_eq!((code, stdout.as_str()), (Some(1), ""), "{stderr}");
        for part in [socket, why, "Hint: ", "-c NAME", "-d PATH"] {
            assert!(stderr.contains(part), "no {part:?} in {stderr}");
        }
    }
}

fn a_name_leads_to_its_socket() {
    let rig = Rig::new();
    let command = rig.einhorn(&["-c", "web", "sleep", "1000"]);
    let _master = rig.launch_at(command, rig.path("einhorn-web.sock"));
    let greeting = "Incrementing number of workers from ";
    for arguments in [
        &["web", "-e", "inc"][..],
        &["-e", "inc", "web"],
        &["-c", "web", "-einc"],
        &["--command-name=web", "--execute=inc"],
        &["--comm", "web", "--exec", "inc"],
        &["--c=web", "--e=inc"],
        &["-d", "einhorn-web.sock", "--execute", "inc"],
        &["--socket_path", "einhorn-web.sock", "--EXECUTE", "inc"],
        &["--s=einhorn-web.sock", "--e", "inc"],
    ] {
        let (code, stdout, stderr) = run(&rig, arguments);
        assert!(code == Some(0) && stdout.starts_with(greeting), "{arguments:?}: {stdout}{stderr}");
    }
    for (abbreviated, shown) in [("--ver", "einhornsh "), ("--he", "Usage: ")] {
        let (code, stdout, _) = run(&rig, &[abbreviated]);
        assert!(code == Some(0) && stdout.contains(shown), "{abbreviated}: {stdout}");
    }
}

fn an_upgrade_is_told_to_its_end_as_sidekiqs_unit_file_asks_for_it() {
    let rig = Rig::new();
    let master = rig.start(&["-m", "manual", "-n", "2"], &["ack", "wait"]);
    let old = master.settled(2);
    let (code, stdout, stderr) = run(&rig, &["--execute", "upgrade"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!(lines.first(), Some(&"Upgrading, as commanded"));
    assert!(is_done(lines.last().unwrap()), "{stdout}");
    assert!(lines.contains(&"Upgraded successfully to generation 1"), "{stdout}");
    master.until("the old ones are gone", || {
        master.workers().iter().all(|worker| !old.contains(&worker.pid)).then_some(())
    });
    let (code, stdout, _) = run(&rig, &["--execute", "die"]);
    assert!(code == Some(0) && stdout.starts_with("Einhorn is going down! "), "{stdout}");
}

fn wrong_usage_is_refused_and_nothing_sent() {
    let rig = Rig::new();
    let master = rig.launch(rig.einhorn(&["sleep", "1000"]));
    for (arguments, told) in [
        (&["-e", "inc; signal 'HUP"][..], "a closing quote is missing: signal 'HUP"),
        (&["-x"], "-x"),
        (&["a", "b"], "'b'"),
        (&["a", "-c", "b"], "cannot be used with"),
    ] {
        let (code, stdout, stderr) = run(&rig, arguments);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(stderr.contains(told), "{stderr}");
    }
    assert_eq!(master.state()[":config"][":number"], 1);
}

fn a_connection_that_is_lost_is_told() {
    let rig = Rig::new();
    let listener = UnixListener::bind(rig.socket()).unwrap();
    let nobody = std::thread::spawn(move || {
        let (client, _) = listener.accept().unwrap();
        BufReader::new(client).read_line(&mut String::new()).unwrap();
    });
    let (code, stdout, stderr) = run(&rig, &["-e", "inc; inc"]);
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert!(stderr.starts_with("einhornsh: lost the connection before the reply"));
    nobody.join().unwrap();
}

fn output_that_nobody_wants_is_no_failure() {
    let rig = Rig::new();
    let _master = rig.launch(rig.einhorn(&["sleep", "1000"]));
    let (reader, writer) = nix::unistd::pipe().unwrap();
    drop(reader);
    let mut command = shell(&rig, &["-e", "state; state"]);
    let (code, _, stderr) = outcome(command.stdout(writer).output().unwrap());
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    let mut command = shell(&rig, &["-e", "state"]);
    let full = File::options().write(true).open("/dev/full").unwrap();
    let (code, _, stderr) = outcome(command.stdout(full).output().unwrap());
    assert_eq!(code, Some(1));
    assert!(stderr.contains("cannot write to standard output: No space left"), "{stderr}");
}

fn a_terminal_gets_a_prompt_completion_and_a_history() {
    let rig = Rig::new();
    let _master = rig.launch(rig.einhorn(&["sleep", "1000"]));
    let (mut terminal, mut child) = Terminal::of(shell(&rig, &[]));
    for (seen, typed) in [
        ("Welcome, ", ""),
        ("> ", "inc\r"),
        ("from 1 -> 2", "set_workers 'x\r"),
        ("a closing quote is missing", "set_w\t 5\r"),
        ("2 -> 5", "exit\r"),
        ("Goodbye!", ""),
    ] {
        terminal.until_shown(seen);
        terminal.type_in(typed);
    }
    assert!(terminal.ended(&mut child).success());
    let history = fs::read_to_string(rig.path(".einhornsh_history")).unwrap();
    assert!(history.ends_with("inc\nset_workers 'x\nset_workers 5\nexit\n"), "{history}");
}
