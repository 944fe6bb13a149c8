//! What the master answers to each command of the command socket, does about it and logs
//! (behaviour.md section 7): one table, and the two long replies in full.

/// The clients that exist, one by one.
mod clients;
/// Upgrades, from a request to its last line.
mod conversations;
/// Who may say what.
mod senders;
/// The part of the table that is about `config`.
mod settings;
/// A busy master's state dump, in full.
mod state;
/// The table.
mod transcripts;

use einhorn::decide::{Action, Event};
use einhorn::protocol::{COMMANDS, Reply};
use einhorn::state::{AckMode, Config, ConnectionId, Pid, Slot, State, release};

use crate::example::{Master, config, requested};
use transcripts::{TABLES, To};

#[test]
fn each_line_gets_its_answer() {
    let mut wrong = Vec::new();
    for (to, line, due) in TABLES.iter().copied().flatten() {
        let done = transcript(*to, line);
        if done != *due {
            wrong.push(format!("{to:?} {line}\n  found {done:#?}\n  due {due:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_command_has_a_transcript() {
    let elsewhere = ["help", "state"];
    let lines: Vec<&str> = TABLES.iter().copied().flatten().map(|(_, line, _)| *line).collect();
    for command in COMMANDS {
        let starts = [",", "}"].map(|end| format!("{{command: {}{end}", command.name));
        let shown = lines.iter().any(|line| starts.iter().any(|start| line.starts_with(start)));
        assert!(shown || elsewhere.contains(&command.name), "no transcript of {}", command.name);
    }
}

/// Sends a line and writes down what comes of it.
fn transcript(to: To, line: &str) -> Vec<String> {
    let mut master = master(to);
    let known = facts(&master.state);
    let connection = if to == To::Given { 2 } else { 1 };
    let actions = master.tell(requested(connection, line));
    let mut done: Vec<String> = actions.iter().filter_map(written).collect();
    let learned = facts(&master.state).into_iter().filter(|fact| !known.contains(fact));
    done.extend(learned.map(|fact| format!("now {fact}")));
    done
}

fn master(to: To) -> Master {
    if to == To::Timer {
        return Master::started(config(2));
    }
    let number = if to == To::Empty { 1 } else { 3 };
    let mut master = Master::new(Config { ack_mode: AckMode::Manual, ..config(number) });
    master.tell(Event::Opened { connection: ConnectionId(1) });
    if to == To::Empty {
        return master;
    }
    master.state.config.command_name = Some("web".to_owned());
    let orders = master.turn_at(0);
    master.start(&orders);
    let orders = master.turn_at(0);
    let connection = Some(ConnectionId(2));
    master.tell(Event::Spawned { slot: Slot(1), pid: Pid(1001), connection, directory: None });
    master.start(&orders[1..]);
    master.ack(&[1000, 1002]);
    if to == To::Stopping {
        master.ask("{command: quieter}");
        master.ask("{command: config, args: ['{signal_timeout: 60}']}");
        master.ask("{command: die}");
    }
    master
}

/// An action as the tables write it; nothing for what only a debugging person reads.
fn written(action: &Action) -> Option<String> {
    let version = release();
    Some(match action {
        Action::Report { connection, kind, reply } => {
            let reply = Reply { message: format!("({kind:?})"), ..reply.clone() };
            return written(&Action::Reply { connection: *connection, reply });
        }
        Action::Reply { reply, .. } => {
            let word = if reply.wait { "more" } else { "reply" };
            let id = reply.request_id.as_ref().map(|id| format!(" {id}"));
            let message = reply.message.replace('\n', "\\n").replace(version, "VERSION");
            format!("{word}{}: {message}", id.unwrap_or_default())
        }
        Action::Signal { pid, signal } => format!("{signal} {pid}"),
        Action::Close { .. } => "close".to_owned(),
        Action::StartPreflight => "asks a candidate".to_owned(),
        Action::Log { level, message } => match format!("{level:?}").to_lowercase() {
            level if level == "debug" => return None,
            level => format!("{level}: {message}"),
        },
        other => format!("{other:?}"),
    })
}

/// What a command may change, a line each.
fn facts(state: &State) -> Vec<String> {
    let config = &state.config;
    let mut facts = vec![
        format!("number {}", config.target),
        format!("seconds {:?}", config.respawn_interval),
        format!("ack_mode {:?}", config.ack_mode),
        format!("signal_timeout {:?}", config.signal_timeout),
        format!("verbosity {}", config.verbosity.0),
        format!("max_unacked {:?}", config.max_unacked),
        format!("max_upgrade_additional {:?}", config.max_upgrade_additional),
        format!("retries {:?}", config.retries),
        format!("drop_env_vars {:?}", config.drop_env_vars),
    ];
    facts.extend(state.stopping.map(|_| "stopping".to_owned()));
    for (pid, worker) in &state.workers {
        facts.extend(worker.is_acked().then(|| format!("{pid} acked")));
        facts.extend(worker.is_stopping().then(|| format!("{pid} told {:?}", worker.signaled)));
        let ping = worker.ping.as_ref();
        facts.extend(ping.map(|ping| format!("{pid} pinged with {:?}", ping.request_id)));
    }
    facts
}

#[test]
fn help_has_a_line_for_each_command_that_people_use() {
    let help = reply_to(&mut master(To::Manual), "{command: help}");
    let unknown = reply_to(&mut master(To::Manual), "{command: \"fly\\n\"}");
    let mut lines = vec!["These commands are available:".to_owned(), String::new()];
    for command in COMMANDS {
        lines.extend(command.help.map(|line| format!("{}: {line}", command.name)));
    }
    assert!(lines.len() > 10, "{lines:?}");
    assert_eq!(help, lines.join("\n") + "\n");
    lines[0] = "Unrecognized command: \"fly\\n\"".to_owned();
    assert_eq!(unknown, lines.join("\n") + "\n");
}

fn reply_to(master: &mut Master, line: &str) -> String {
    match &master.ask(line)[..] {
        [Action::Reply { reply, .. }] => reply.message.clone(),
        other => panic!("not one reply: {other:?}"),
    }
}

#[test]
fn a_connection_is_given_as_long_as_its_worker_lives() {
    let mut master = master(To::Given);
    master.tell(requested(2, "{command: worker:ack, pid: 1001}"));
    master.exit(1001);
    // Another worker may get the pid while a descendant of the first holds the connection.
    master.turn_at(1);
    let connection = Some(ConnectionId(3));
    master.tell(Event::Spawned { slot: Slot(1), pid: Pid(1001), connection, directory: None });
    let close = Action::Close { connection: ConnectionId(2) };
    assert!(master.tell(requested(2, "{command: worker:ping, pid: 1001}")).contains(&close));
}
