//! The command socket as clients see it.

use std::os::unix::fs::PermissionsExt;

use einhorn::protocol::{COMMANDS, LINE_MAX, Reply, escape};

use crate::support::ordinary_user::{self, NOBODY, needs_root};
use crate::support::rig::Rig;
use crate::support::wire::Wire;

crate::tests![
    replies_are_these_to_the_byte,
    every_command_is_understood_as_json_and_as_rubys_yaml,
    an_id_of_any_type_comes_back_and_without_one_there_is_only_the_message,
    bad_lines_are_answered_and_the_connection_kept,
    half_lines_wait,
    many_requests_in_one_write_are_answered_in_order,
    a_client_that_says_no_more_gets_every_reply_and_the_end,
    what_a_client_has_asked_is_done_though_it_has_left,
    other_users_are_refused_and_logged,
    root_commands_everybodys_master,
];

fn replies_are_these_to_the_byte() {
    let rig = Rig::new();
    let master = rig.launch(rig.einhorn(&["-c", "w%b", "-d", "einhorn.sock", "sleep", "1000"]));
    let mut wire = Wire::connect(&rig);
    let pid = master.pid();
    let release = env!("CARGO_PKG_VERSION");
    let greeting = format!(
        "---%0Amessage: \"Welcome, 100%25!\\n! You are speaking to Einhorn Master Process {pid} \
         (w%25b), einhorn {release}\\n\"%0Arequest_id: \"a%25\\nb\"%0A"
    );
    for (request, reply) in [
        (
            r#"{"command": "inc", "id": 1}"#,
            r#"---%0Amessage: "Incrementing number of workers from 1 -> 2"%0Arequest_id: 1%0A"#,
        ),
        (
            "---%0Acommand: dec%0Aid: 2%0Aargs: []%0A",
            r#"---%0Amessage: "Decrementing number of workers from 2 -> 1"%0Arequest_id: 2%0A"#,
        ),
        (r#"{"command": "quieter"}"#, r#"---%0Amessage: "Verbosity set to 2 (errors only)"%0A"#),
        ("---%0Acommand: ehlo%0Auser: \"100%25!\\n\"%0Aid: \"a%25\\nb\"%0A", &greeting),
    ] {
        assert_eq!(wire.ask(request), reply);
    }
}

/// A message, whatever id it was given.
fn message(line: &str) -> String {
    Reply::parse(line).unwrap().message
}

/// A request as JSON and as Ruby's Psych would write it, with one argument at most.
fn both_ways(command: &str, arg: &str) -> [String; 2] {
    let list: Vec<&str> = if arg.is_empty() { vec![] } else { vec![arg] };
    let json = serde_json::json!({"command": command, "args": list}).to_string();
    let items = match arg {
        "" => " []\n".to_owned(),
        arg => format!("\n- {}\n", serde_json::Value::from(arg)),
    };
    [escape(&json), escape(&format!("---\ncommand: {command}\nargs:{items}"))]
}

fn every_command_is_understood_as_json_and_as_rubys_yaml() {
    let rig = Rig::new();
    let mut master = rig.launch(rig.einhorn(&["-m", "manual", "sleep", "1000"]));
    let told = [
        ("abort", "", "There is no upgrade to abort"),
        ("wait", "", "There was no upgrade to wait for"),
        ("status", "", "of 1 workers are up\n\nMASTER "),
        ("status", "--json", "\"workers\":["),
        ("metrics", "", "# EOF\n"),
        ("metrics", "--json", "metrics takes no argument"),
        ("config", "{seconds: 2}", "Changed "),
        ("config", "{cmd: [sh]}", "Cannot change \"cmd\""),
        ("config", "", "config needs a mapping"),
        ("inc", "", "Incrementing number of workers"),
        ("dec", "", "Decrementing number of workers"),
        ("ehlo", "", "Welcome, stranger!"),
        ("help", "", "upgrade_fleet: "),
        ("louder", "", "Verbosity "),
        ("quieter", "", "Verbosity "),
        ("set_workers", "3", "Altering worker count"),
        ("set_workers", "1", "-> 1. "),
        ("dec", "", "Can't decrease number of workers (already at 1)"),
        ("set_workers", "0", "a whole number from 1 to 10000"),
        ("set_workers", "10001", "the most is 10000"),
        ("set_workers", "", "a whole number from 1 to 10000"),
        ("signal", "SIGwinch", "Successfully sent WINCHs to "),
        ("signal", "100%", "Invalid signal: \"100%\". Known: HUP INT "),
        ("signal", "", "signal needs the name of a signal"),
        ("state", "", ":children:"),
        ("die", "nonsense", "Invalid signal: \"nonsense\""),
        ("die", "WINCH", "Einhorn is going down! Successfully sent WINCHs to "),
        ("inc", "", "the master is going down"),
        ("reload", "", "Not upgrading: the master is going down"),
        ("upgrade", "", "Not upgrading: the master is going down"),
        ("upgrade_fleet", "", "Not upgrading: the master is going down"),
        ("die", "KILL", "Einhorn is going down!"),
    ];
    // Once with each notation, the last one only once: it ends the master.
    let (last, others) = told.split_last().unwrap();
    let mut wire = Wire::connect(&rig);
    for (command, arg, part) in others {
        for request in both_ways(command, arg) {
            // `set_workers` and `inc` say from how many, the second time from another number.
            let reply = message(&wire.ask(&request));
            assert!(reply.contains(part), "{request}: {reply}");
        }
    }
    assert!(message(&wire.ask(&both_ways(last.0, last.1)[0])).contains(last.2));
    assert!(master.ended().success());
    let silent = |name: &str| name.starts_with("worker:");
    for command in COMMANDS.iter().filter(|command| !silent(command.name)) {
        assert!(told.iter().any(|(name, ..)| *name == command.name), "{}", command.name);
    }
}

fn an_id_of_any_type_comes_back_and_without_one_there_is_only_the_message() {
    let rig = Rig::new();
    let _master = rig.launch(rig.einhorn(&["sleep", "1000"]));
    let mut wire = Wire::connect(&rig);
    for (given, echoed) in [
        ("5", "5"),
        ("-7", "-7"),
        ("18446744073709551615", "18446744073709551615"),
        ("\"5\"", "\"5\""),
        ("\"yes\"", "\"yes\""),
        ("\"\"", "\"\""),
        ("1.5", "1.5"),
        ("true", "true"),
        ("\"a%25\\nb ü\"", "\"a%25\\nb ü\""),
    ] {
        let reply = wire.ask(&format!("{{\"command\": \"quieter\", \"id\": {given}}}"));
        let end = format!("(errors only)\"%0Arequest_id: {echoed}%0A");
        assert!(reply.ends_with(&end), "{given}: {reply}");
    }
    for none in ["null", "[1]", "{}"] {
        let reply = wire.ask(&format!("{{\"command\": \"quieter\", \"id\": {none}}}"));
        assert!(reply.ends_with("(errors only)\"%0A"), "{none}: {reply}");
    }
    assert!(!wire.ask("{\"command\": \"quieter\"}").contains("request_id"));
}

fn bad_lines_are_answered_and_the_connection_kept() {
    let rig = Rig::new();
    let _master = rig.launch(rig.einhorn(&["sleep", "1000"]));
    let mut wire = Wire::connect(&rig);
    let too_long = vec![b'x'; LINE_MAX + 1];
    let unparsable = "Could not parse command: ";
    let cases: [(&[u8], &[&str]); 12] = [
        (b"", &[unparsable, "got nothing"]),
        (b"42", &[unparsable, "got a number"]),
        (b"state", &[unparsable, "got a string"]),
        (b"[command, state]", &[unparsable, "got a list"]),
        (b"{\"command\": \"state\"", &[unparsable]),
        (b"{\"command\": \"state\", \"command\": \"die\"}", &[unparsable, "`command`"]),
        (b"{\"command\": \"\xff\"}", &[unparsable, "not UTF-8"]),
        (b"\x00", &[unparsable]),
        (&too_long, &[unparsable, "longer than 16384 bytes"]),
        (b"{\"args\": [\"state\"]}", &["No \"command\" parameter provided"]),
        (b"{\"command\": \"dye\"}", &["Unrecognized command: \"dye\"", "die: ", "state: "]),
        (b"{\"command\": \"inc\", \"args\": \"x\"}", &["Args must be a list, not a string"]),
    ];
    for (line, parts) in cases {
        wire.send([line, b"\n"].concat());
        let reply = message(&wire.line());
        for part in parts {
            assert!(reply.contains(part), "{:?}: {reply}", String::from_utf8_lossy(line));
        }
    }
    assert!(wire.ask("{\"command\": \"state\"}").contains(":children:"));
}

fn half_lines_wait() {
    let rig = Rig::new();
    let master = rig.launch(rig.einhorn(&["sleep", "1000"]));
    let mut wire = Wire::connect(&rig);
    for part in ["{\"command\":", " \"louder\"", ", \"id\": 1"] {
        wire.send(part);
        // By then the master has read it.
        master.say("ehlo", &[]);
        assert!(wire.is_silent());
    }
    assert!(wire.ask("}").ends_with("request_id: 1%0A"));
}

/// Requests with the ids from 0, and the end of the reply to each.
fn numbered(count: usize) -> (String, Vec<String>) {
    let request = |id| format!("{{\"command\": \"ehlo\", \"id\": {id}}}\n");
    (
        (0..count).map(request).collect(),
        (0..count).map(|id| format!("request_id: {id}%0A")).collect(),
    )
}

fn many_requests_in_one_write_are_answered_in_order() {
    let rig = Rig::new();
    let _master = rig.launch(rig.einhorn(&["sleep", "1000"]));
    let mut wire = Wire::connect(&rig);
    let (requests, ends) = numbered(200);
    wire.send(requests);
    for end in ends {
        let line = wire.line();
        assert!(line.ends_with(&end), "{line}");
    }
}

fn a_client_that_says_no_more_gets_every_reply_and_the_end() {
    let rig = Rig::new();
    let _master = rig.launch(rig.einhorn(&["sleep", "1000"]));
    let wire = Wire::connect(&rig);
    // More than is answered in one turn, and half a line that nobody completes.
    let (requests, ends) = numbered(200);
    wire.send(requests + "{\"command\":");
    wire.end();
    let rest = wire.rest();
    assert!(rest.lines().zip(&ends).all(|(line, end)| line.ends_with(end)), "{rest}");
    assert_eq!(rest.lines().count(), ends.len());
}

fn what_a_client_has_asked_is_done_though_it_has_left() {
    let rig = Rig::new();
    let master = rig.launch(rig.einhorn(&["-m", "0", "sleep", "1000"]));
    for round in 1..=5 {
        let wire = Wire::connect(&rig);
        wire.send("{\"command\": \"signal\", \"args\": [\"WINCH\"]}\n".repeat(100));
        drop(wire);
        let done = || rig.log().matches("Successfully sent WINCHs").count() == 100 * round;
        master.until("all is done", || done().then_some(()));
    }
}

fn other_users_are_refused_and_logged() {
    if !needs_root() {
        return;
    }
    let rig = Rig::new();
    let master = rig.launch(rig.einhorn(&["sleep", "1000"]));
    let shell = || {
        let arguments = ["-d", "einhorn.sock", "-e", "set_workers 7"];
        let mut command = ordinary_user::command(&rig, env!("CARGO_BIN_EXE_einhornsh"), &arguments);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(shell().contains("permission denied; are you the user that einhorn runs as?"));
    // Whatever an operator may do to the file.
    std::fs::set_permissions(rig.socket(), PermissionsExt::from_mode(0o777)).unwrap();
    assert!(shell().contains("lost the connection"));
    master.until_logged(&format!("of user {NOBODY}, who is neither 0 nor root"));
    assert_eq!(master.state()[":config"][":number"], 1);
}

fn root_commands_everybodys_master() {
    if !needs_root() {
        return;
    }
    let rig = Rig::new();
    let arguments = ["-n", "2", "-m", "0", "sleep", "1000"];
    let command = ordinary_user::command(&rig, env!("CARGO_BIN_EXE_einhorn"), &arguments);
    let mut master = rig.launch(command);
    master.replaced(&master.settled(2)[..1], 2);
    assert!(master.say("die", &[]).contains("going down"));
    assert!(master.ended().success());
}
