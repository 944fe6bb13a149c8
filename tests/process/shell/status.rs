//! `status`, as einhornsh shows it.

use einhorn::outcome::Outcome;
use einhorn::protocol::Args;
use einhorn::status::{
    Health, ListenerKind, ListenerStatus, MasterStatus, Queue, Status, Style, Unit, VERSION, json,
    table,
};

use crate::shell::sessions::{run, shell};
use crate::support::fake_master::{Say, ends, master};
use crate::support::rig::Rig;
use crate::support::terminal::Terminal;

crate::tests![
    a_table_or_the_document_and_an_exit_status_by_health,
    a_watch_goes_on_until_the_master_is_gone,
    a_watch_on_a_terminal_turns_pages,
    a_master_that_does_not_know_its_status_is_told,
];

/// A master without workers.
fn status(health: Health, pid: i32) -> Status {
    Status {
        version: VERSION,
        written_on_ms: 1_795_299_815_750,
        health,
        reasons: vec!["0 of 4 workers are up".to_owned()],
        warnings: Vec::new(),
        notes: Vec::new(),
        master: MasterStatus {
            pid,
            name: None,
            release: "0.1.0".to_owned(),
            generation: 2,
            uptime_ms: None,
            reexecs: 0,
            target: 4,
            acked: 0,
            early_deaths: 0,
            memory_bytes: None,
        },
        in_progress: None,
        last_upgrade: None,
        workers: Vec::new(),
        listeners: vec![ListenerStatus {
            address: "127.0.0.1:80".to_owned(),
            kind: ListenerKind::Tcp,
            descriptor: 6,
            queue: Some(Queue { depth: 3, limit: 100, unit: Unit::Connections }),
        }],
    }
}

fn answer(status: &Status) -> Say {
    ends(Outcome::Done, &json(status))
}

fn a_table_or_the_document_and_an_exit_status_by_health() {
    for (health, code) in [(Health::Ok, 0), (Health::Degraded, 1)] {
        let status = status(health, 900);
        let document = json(&status) + "\n";
        let plain = table(&status, Style::Plain);
        for (arguments, printed) in [
            (&["-e", "status"][..], &plain),
            (&["-e", "status --json"], &document),
            (&["--json", "--exec", "status"], &document),
        ] {
            let rig = Rig::new();
            let master = master(&rig, vec![answer(&status)]);
            let told = run(&rig, arguments);
            assert_eq!(told, (Some(code), printed.clone(), String::new()), "{arguments:?}");
            let request = master.join().unwrap().remove(0);
            assert_eq!(request.args, Args::List(vec!["--json".to_owned()]));
        }
    }
}

fn a_watch_goes_on_until_the_master_is_gone() {
    let looks = [status(Health::Ok, 900), status(Health::Degraded, 901), status(Health::Ok, 902)];
    let all = |look: fn(&Status) -> String| looks.iter().map(look).collect::<String>();
    for (arguments, printed) in [
        (&["-e", "status --watch 0.01"][..], all(|status| table(status, Style::Plain))),
        (&["--watch", "0.01", "-e", "status"], all(|status| table(status, Style::Plain))),
        (&["--watch=0.01", "--json", "-e", "status"], all(|status| json(status) + "\n")),
    ] {
        let rig = Rig::new();
        let master = master(&rig, looks.iter().map(answer).collect());
        let (code, stdout, stderr) = run(&rig, arguments);
        master.join().unwrap();
        assert_eq!(code, Some(1));
        assert!(stdout.starts_with(&printed), "{stdout}");
        assert!(stderr.contains("lost the connection"), "{stderr}");
    }
    // Not only at the next look.
    for arguments in [&["-e", "status --watch 1000"][..], &["--watch", "-e", "status"]] {
        let rig = Rig::new();
        let master = master(&rig, vec![answer(&looks[0])]);
        assert_eq!(run(&rig, arguments).0, Some(1));
        master.join().unwrap();
    }
}

fn a_watch_on_a_terminal_turns_pages() {
    let rig = Rig::new();
    let looks = [status(Health::Ok, 900), status(Health::Degraded, 901)];
    let master = master(&rig, looks.iter().map(answer).collect());
    let mut command = shell(&rig, &["-e", "status --watch=0.01"]);
    command.env_remove("NO_COLOR");
    let (terminal, mut child) = Terminal::with_size(command, 80, 4);
    assert_eq!(terminal.ended(&mut child).code(), Some(1));
    master.join().unwrap();
    terminal.until_shown("lost the connection");
    let shown = terminal.shown().replace('\r', "");
    let pages: Vec<&str> = shown.split("\x1b[H").skip(1).collect();
    assert_eq!(pages.len(), 2, "{shown:?}");
    for (page, look) in pages.iter().zip(&looks) {
        // The last line of the terminal is left to the cursor.
        let due = table(look, Style::Coloured);
        let due = due.lines().take(3).map(|line| format!("{line}\x1b[K\n"));
        let due = format!("\x1b[?7l{}\x1b[?7h\x1b[J", due.collect::<String>());
        assert!(page.starts_with(&due), "{page:?} is not {due:?}");
    }
}

fn a_master_that_does_not_know_its_status_is_told() {
    let unknown = "Unrecognized command: \"status\"";
    let refused = ends(Outcome::Refused, "Not now");
    let refusal = refused.event().unwrap();
    for (say, line, printed, code) in [
        (Say::Words(unknown, false), "status --watch", unknown, 2),
        (ends(Outcome::NotUnderstood, "What?"), "status now", "What?", 2),
        (ends(Outcome::Done, "I am well"), "status", "I am well", 2),
        (refused, "status --json", &refusal, 3),
    ] {
        let rig = Rig::new();
        let master = master(&rig, vec![say]);
        let told = run(&rig, &["-e", line]);
        assert_eq!(told, (Some(code), format!("{printed}\n"), String::new()), "{line}");
        master.join().unwrap();
    }
    let rig = Rig::new();
    let silent = master(&rig, vec![Say::Nothing]);
    assert_eq!(run(&rig, &["-e", "status --timeout 0.1"]).0, Some(5));
    silent.join().unwrap();
}
