//! Clients of the command socket across a re-exec: nothing that they have said or are owed is lost.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use einhorn::client::Client;
use einhorn::protocol::Reply;

use crate::support::background::meanwhile;
use crate::support::last_line::is_done;
use crate::support::other_release::{install, start_as};
use crate::support::releases::{THIS, next, script};
use crate::support::rig::{Master, Rig};
use crate::support::wait;

crate::tests![
    half_a_line_is_completed_after_a_reload,
    a_client_that_does_not_read_gets_every_byte_after_twenty_reloads,
    commands_sent_during_the_hand_over_are_answered_after_it,
    who_asked_is_told_of_success_once,
    who_asked_is_told_of_a_refusal_once,
    who_asked_is_told_of_a_failed_exec_once,
    who_asked_is_told_of_a_rollback_once,
    ten_who_ask_at_once_are_each_told_once,
    a_client_that_leaves_while_it_waits_harms_nobody,
    connections_of_workers_go_on,
    fifty_workers_ack_while_the_master_upgrades,
];

/// A connection that is written and read by hand.
fn connect(rig: &Rig) -> UnixStream {
    let stream = UnixStream::connect(rig.socket()).unwrap();
    stream.set_read_timeout(Some(wait::PATIENCE)).unwrap();
    stream
}

fn read_reply(stream: &mut impl BufRead) -> Reply {
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    Reply::parse(line.strip_suffix('\n').unwrap()).unwrap()
}

/// A client that waits for a command's end.
struct Asker(Client);

impl Asker {
    fn new(rig: &Rig) -> Asker {
        let client = Client::connect(&rig.socket()).unwrap();
        client.set_read_timeout(Some(wait::PATIENCE)).unwrap();
        Asker(client)
    }

    /// Sends a command, and reads all that it is told; more than one last line would answer the
    /// command after it.
    fn ask(&mut self, command: &str) -> Vec<String> {
        let replies: Result<Vec<Reply>, _> = self.0.request(command, &[]).unwrap().collect();
        let replies = replies.unwrap();
        let (last, progress) = replies.split_last().unwrap();
        assert!(!last.wait && progress.iter().all(|reply| reply.wait), "{replies:?}");
        self.0.send_line(r#"{"command": "ehlo", "user": "again", "id": "after"}"#).unwrap();
        let after = self.0.next_reply().unwrap();
        assert!(after.message.contains("Welcome, again!"), "{after:?} after {replies:?}");
        replies.into_iter().map(|reply| reply.message).collect()
    }
}

/// Whether the last of the messages is this, and whether these are among those before it, in order.
/// How the last line of an upgrade begins that is done.
const DONE: &str = "Upgrade done";

fn told(messages: &[String], progress: &[&str], last: &str) {
    let (end, before) = messages.split_last().unwrap();
    assert!(end.contains(last) && (last != DONE || is_done(end)), "{messages:?}");
    let mut before = before.iter();
    for part in progress {
        assert!(before.any(|message| message.contains(part)), "{part:?} of {messages:?}");
    }
}

fn half_a_line_is_completed_after_a_reload() {
    let rig = Rig::new();
    let master = rig.start(&["-m", "manual"], &["ack", "wait"]);
    let line = r#"{"command": "ehlo", "user": "ä %25 ü", "id": 7}"#.as_bytes();
    // Before the line, within a character, within an escape, and before its end.
    let accent = line.iter().position(|byte| *byte == 0xc3).unwrap() + 1;
    let escape = line.iter().position(|byte| *byte == b'%').unwrap() + 1;
    let cuts = [0, 1, accent, escape, escape + 1, line.len()];
    let mut clients: Vec<_> = cuts.iter().map(|_| connect(&rig)).collect();
    for (client, cut) in clients.iter_mut().zip(cuts) {
        client.write_all(&line[..cut]).unwrap();
    }
    for _ in 0..3 {
        assert!(master.say("reload", &[]).starts_with("Reload done"));
    }
    for (client, cut) in clients.iter_mut().zip(cuts) {
        client.write_all(&[&line[cut..], b"\n"].concat()).unwrap();
        let reply = read_reply(&mut BufReader::new(&*client));
        assert!(reply.message.contains("Welcome, ä % ü!"), "{reply:?}");
        assert_eq!(reply.request_id, Some(einhorn::scalar::Scalar::Integer(7)));
    }
}

fn a_client_that_does_not_read_gets_every_byte_after_twenty_reloads() {
    const REQUESTS: usize = 2000;
    let rig = Rig::new();
    let master = rig.start(&["-m", "manual"], &["ack", "wait"]);
    let mut example = connect(&rig);
    example.write_all(b"{\"command\": \"help\", \"id\": \"n00000\"}\n").unwrap();
    let mut answer = String::new();
    BufReader::new(&mut example).read_line(&mut answer).unwrap();
    let answer_to = |number| answer.replace("n00000", &format!("n{number:05}"));
    let client = connect(&rig);
    let mut writer = client.try_clone().unwrap();
    let sent = AtomicUsize::new(0);
    meanwhile(&master, |scope| {
        let count = &sent;
        scope.spawn(move || {
            for number in 0..REQUESTS {
                count.store(number, Ordering::Relaxed);
                let request = format!("{{\"command\": \"help\", \"id\": \"n{number:05}\"}}\n");
                writer.write_all(request.as_bytes()).unwrap();
            }
        });
        let mut before = 0;
        master.until("not one request more is taken", || {
            let now = sent.load(Ordering::Relaxed);
            let before = std::mem::replace(&mut before, now);
            (now > 100 && now == before).then_some(())
        });
        for _ in 0..20 {
            assert!(master.say("reload", &[]).starts_with("Reload done"));
        }
        let expected: String = (0..REQUESTS).map(answer_to).collect();
        // Far more than any buffer on the way takes: the master owed it all the while.
        assert!(expected.len() > 1024 * 1024, "{} bytes", expected.len());
        let mut received = vec![0; expected.len()];
        (&client).read_exact(&mut received).unwrap();
        assert!(received == expected.as_bytes(), "another stream");
    });
}

/// A wrapper around `einhorn`, with what it does in the check and in the master's place.
fn wrapper(rig: &Rig, check: &str, in_place: &str) -> String {
    let einhorn = rig.path("einhorn");
    let text = format!(
        "#!/bin/sh\ncase \"$1\" in\n--upgrade-check) {check};;\n--with-state-fd) {in_place};;\n\
         esac\nexec {} \"$@\"\n",
        einhorn.display()
    );
    script(rig, "wrapper", &text).display().to_string()
}

fn commands_sent_during_the_hand_over_are_answered_after_it() {
    let rig = Rig::new();
    install(&rig, THIS.as_ref(), "einhorn");
    let wrapper = wrapper(&rig, ":", "touch here; while [ ! -e go ]; do sleep 0.02; done");
    let options = ["-m", "manual", "--reexec-as", &wrapper];
    let master = start_as(&rig, "einhorn", &options, &["ack", "wait"], &[]);
    master.settled(1);
    let mut before = connect(&rig);
    let half = b"{\"command\": \"inc\", \"id\": 1}\n{\"comm";
    let mut first = Asker::new(&rig);
    meanwhile(&master, |scope| {
        let reloaded = scope.spawn(move || first.ask("reload"));
        master.until("the wrapper runs", || rig.path("here").exists().then_some(()));
        before.write_all(half).unwrap();
        let mut during = connect(&rig);
        during.write_all(b"{\"command\": \"inc\", \"id\": 2}\n").unwrap();
        before.write_all(b"and\": \"inc\", \"id\": 3}\n").unwrap();
        assert!(!reloaded.is_finished());
        fs::write(rig.path("go"), "").unwrap();
        told(&reloaded.join().unwrap(), &["handing over to it", "Re-executed"], "Reload done");
        let mut before = BufReader::new(&before);
        for _ in 0..2 {
            assert!(read_reply(&mut before).message.contains("Incrementing"));
        }
        assert!(read_reply(&mut BufReader::new(&during)).message.contains("Incrementing"));
    });
    master.settled(4);
}

fn who_asked_is_told_of_success_once() {
    let rig = Rig::new();
    let master = rig.start(&["-n", "2", "-m", "manual"], &["ack", "wait"]);
    master.settled(2);
    let mut client = Asker::new(&rig);
    for _ in 0..3 {
        for kind in ["upgrade", "upgrade_fleet"] {
            let parts = ["Upgrading", "can take over", "Re-executed", "Up to 2 / 2", "USR2 to"];
            told(&client.ask(kind), &parts[..4], DONE);
        }
        told(&client.ask("reload"), &["Reloading", "Re-executed"], "Reload done");
    }
}

/// A master as `einhorn` of the folder, which may be replaced.
fn start_replaceable<'a>(rig: &'a Rig, variables: &[(&str, &str)]) -> Master<'a> {
    install(rig, THIS.as_ref(), "einhorn");
    let options = ["-n", "2", "-m", "manual"];
    let master = start_as(rig, "einhorn", &options, &["ack", "wait"], variables);
    master.settled(2);
    master
}

/// Asks in every way and is told of a failure; then the release is mended and all is well.
fn is_told_of_a_failure(rig: &Rig, master: &Master<'_>, last: &str, mend: impl FnOnce()) {
    let workers = master.settled(2);
    let mut client = Asker::new(rig);
    for kind in ["reload", "upgrade", "upgrade_fleet"] {
        let word = if kind == "reload" { "Reloading" } else { "Upgrading" };
        told(&client.ask(kind), &[word], last);
    }
    assert_eq!(master.settled(2), workers);
    mend();
    told(&client.ask("upgrade"), &["Re-executed"], DONE);
}

fn who_asked_is_told_of_a_refusal_once() {
    let rig = Rig::new();
    let master = start_replaceable(&rig, &[]);
    script(&rig, "einhorn", "#!/bin/sh\necho no such library >&2\nexit 3\n");
    let last = "last output: no such library";
    is_told_of_a_failure(&rig, &master, last, || install(&rig, THIS.as_ref(), "einhorn"));
}

fn who_asked_is_told_of_a_failed_exec_once() {
    let rig = Rig::new();
    install(&rig, THIS.as_ref(), "einhorn");
    // The first asked for is gone when the second is; the file that the check needs is not.
    let wrapper = wrapper(&rig, "if [ ! -e mended ]; then mv wrapper gone; fi", ":");
    let options = ["-n", "2", "-m", "manual", "--reexec-as", &wrapper];
    let master = start_as(&rig, "einhorn", &options, &["ack", "wait"], &[]);
    let workers = master.settled(2);
    let mut client = Asker::new(&rig);
    for kind in ["reload", "upgrade", "upgrade_fleet"] {
        let messages = client.ask(kind);
        told(&messages, &["handing over to it"], "went on as before");
        assert!(messages.last().unwrap().contains("No such file"), "{messages:?}");
        fs::rename(rig.path("gone"), rig.path("wrapper")).unwrap();
    }
    assert_eq!(master.settled(2), workers);
    fs::write(rig.path("mended"), "").unwrap();
    told(&client.ask("upgrade"), &["Re-executed"], DONE);
}

fn who_asked_is_told_of_a_rollback_once() {
    let rig = Rig::new();
    let master = start_replaceable(&rig, &[("EINHORN_TEST_FAIL_ADOPT", "build")]);
    install(&rig, next(), "einhorn");
    let last = "a failure at build that a test asked for";
    is_told_of_a_failure(&rig, &master, last, || install(&rig, THIS.as_ref(), "einhorn"));
    assert_eq!(rig.log().matches("Rolled back, this release goes on").count(), 3);
}

fn ten_who_ask_at_once_are_each_told_once() {
    let rig = Rig::new();
    let master = rig.start(&["-n", "4", "-m", "manual"], &["ack", "wait"]);
    master.settled(4);
    meanwhile(&master, |scope| {
        let asker = |number: usize| {
            let mut client = Asker::new(&rig);
            let kind = ["upgrade", "upgrade_fleet"][number % 2];
            scope.spawn(move || told(&client.ask(kind), &["Upgrading"], DONE))
        };
        let askers: Vec<_> = (0..10).map(asker).collect();
        askers.into_iter().for_each(|asker| asker.join().unwrap());
    });
    let generations = master.state()[":version"].as_u64().unwrap();
    assert!((1..=10).contains(&generations), "{generations}");
    master.settled(4);
}

fn a_client_that_leaves_while_it_waits_harms_nobody() {
    let rig = Rig::new();
    let gate = rig.path("gate");
    fs::write(&gate, "").unwrap();
    let until = format!("until={}", gate.display());
    let master = rig.start(&["-n", "2", "-m", "manual"], &[&until, "ack", "wait"]);
    master.settled(2);
    fs::remove_file(&gate).unwrap();
    let mut patient = Asker::new(&rig);
    meanwhile(&master, |scope| {
        for moment in ["Upgrading, as commanded", "Launched"] {
            let mut leaving = connect(&rig);
            leaving.write_all(b"{\"command\": \"upgrade\", \"id\": 1}\n").unwrap();
            let mut lines = BufReader::new(&leaving);
            while !read_reply(&mut lines).message.contains(moment) {}
        }
        let asked = scope.spawn(move || patient.ask("upgrade"));
        master.until_logged("Starting over");
        fs::write(&gate, "").unwrap();
        told(&asked.join().unwrap(), &["Re-executed"], DONE);
    });
    master.settled(2);
}

fn connections_of_workers_go_on() {
    let rig = Rig::new();
    let folder = rig.subfolder("up");
    let gate = |name: &str| -> (PathBuf, String) {
        let path = folder.join(name);
        (path.clone(), format!("until={}", path.display()))
    };
    let [(first, until_first), (second, until_second)] = [gate("first"), gate("second")];
    let steps = ["ack-given", &until_first, "ping=17", &until_second, "ping=18", "wait"];
    let master = rig.start(&["-g", "-m", "manual"], &steps);
    let worker = master.settled(1)[0];
    for (id, gate) in [(17, first), (18, second)] {
        assert!(master.say("reload", &[]).starts_with("Reload done"));
        fs::write(gate, "").unwrap();
        master.until(&format!("ping {id} arrives"), || {
            let worker = serde_yaml::Value::from(worker);
            let pinged = &master.state()[":children"][worker][":pinged_request_id"];
            (pinged.as_u64() == Some(id)).then_some(())
        });
    }
    assert_eq!(master.settled(1), [worker]);
}

fn fifty_workers_ack_while_the_master_upgrades() {
    let rig = Rig::new();
    let folder = rig.subfolder("up");
    let until = format!("until-index={}", folder.display());
    let master = rig.start(&["-n", "50", "-m", "manual"], &[&until, "ack", "wait"]);
    master.until("fifty are started", || (master.workers().len() == 50).then_some(()));
    let acked = || master.workers().iter().filter(|worker| worker.acked).count();
    let mut met = 0;
    for index in 0..50 {
        fs::write(folder.join(index.to_string()), "").unwrap();
        if index % 5 == 4 {
            assert!(master.say("reload", &[]).starts_with("Reload done"));
            met += usize::from((1..50).contains(&acked()));
        }
    }
    master.settled(50);
    assert!(met > 4, "{met} of ten reloads met some that had ACKed and some that had not");
    assert_eq!(rig.log().matches("Launched").count(), 50);
}
