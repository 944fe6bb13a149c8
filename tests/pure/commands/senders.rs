//! For which worker an ACK or a ping counts, and who may say what over a worker's own connection.

use einhorn::decide::{Action, Authority, Event, Level, Membership, Sender};
use einhorn::outcome::Outcome;
use einhorn::protocol::COMMANDS;
use einhorn::state::{ConnectionId, Pid};

use super::transcripts::To;
use super::{facts, master};
use crate::example::{Master, requested};

/// A process in the group of worker 1001, and of another user.
const CHILD: i32 = 1500;
const OTHER_USER: Authority = Authority::OwnWorker(Sender { pid: CHILD, uid: 33 });

/// A line over the connection that `-g` gave to worker 1001, or another one.
fn sent(
    connection: u64,
    line: &str,
    authority: Authority,
    membership: Option<Membership>,
) -> Event {
    let Event::Requested { connection, request, .. } = requested(connection, line) else {
        unreachable!("it is one")
    };
    Event::Requested { connection, request, authority, membership }
}

/// What is logged as an error.
fn errors(actions: &[Action]) -> Vec<&str> {
    let error = |action| match action {
        &Action::Log { level: Level::Error, ref message } => Some(message.as_str()),
        _ => None,
    };
    actions.iter().filter_map(error).collect()
}

/// An ACK of a process over the command socket, and what is known of the process.
fn ack(master: &mut Master, pid: i32, membership: Membership) -> Vec<Action> {
    let line = format!("{{command: worker:ack, pid: {pid}}}");
    master.tell(sent(1, &line, Authority::Full, Some(membership)))
}

#[test]
fn any_process_of_its_group_speaks_for_a_worker() {
    let mut master = master(To::Manual);
    let actions = ack(&mut master, CHILD, Membership::InGroup(Pid(1001)));
    assert_eq!(errors(&actions), [""; 0]);
    assert!(master.state.workers[&Pid(1001)].is_acked());
    assert_eq!(actions.last(), Some(&Action::Close { connection: ConnectionId(1) }));
    let ping = format!("{{command: worker:ping, pid: {CHILD}, request_id: r-5}}");
    master.tell(sent(1, &ping, Authority::Full, Some(Membership::InGroup(Pid(1002)))));
    assert!(master.state.workers[&Pid(1002)].ping.is_some());
    let again = ack(&mut master, CHILD, Membership::InGroup(Pid(1001)));
    assert_eq!(errors(&again), ["Ignoring an ACK for 1001, which was ACKed before"]);
}

#[test]
fn what_does_not_count_says_why() {
    for (membership, why) in [
        (Membership::Descendant(Pid(1001)), "descends from worker 1001, but is not in its process"),
        (Membership::Unrelated, "is in no worker's process group"),
        (Membership::InGroup(Pid(1009)), "is in no worker's process group"),
        (Membership::NoSuchProcess, "there is no such process any more (in a pid namespace"),
    ] {
        let mut master = master(To::Manual);
        let known = facts(&master.state);
        let actions = ack(&mut master, CHILD, membership);
        let told = errors(&actions).join("\n");
        let begins = format!("Ignoring an ACK for {CHILD}, which is no worker of mine: ");
        assert!(told.starts_with(&begins) && told.contains(why), "{told}");
        let ping = format!("{{command: worker:ping, pid: {CHILD}}}");
        let actions = master.tell(sent(1, &ping, Authority::Full, Some(membership)));
        let told = errors(&actions).join("\n");
        let begins = format!("Ignoring a ping of {CHILD}, which is no worker of mine: ");
        assert!(told.starts_with(&begins) && told.contains(why), "{told}");
        assert_eq!(facts(&master.state), known);
    }
}

#[test]
fn a_worker_is_itself_whatever_is_said_of_its_pid() {
    let mut master = master(To::Manual);
    ack(&mut master, 1001, Membership::InGroup(Pid(1000)));
    assert!(master.state.workers[&Pid(1001)].is_acked());
}

#[test]
fn another_user_speaks_for_its_own_worker() {
    for (pid, membership) in [(1001, None), (CHILD, Some(Membership::InGroup(Pid(1001))))] {
        let mut master = master(To::Given);
        for command in ["ack", "ping"] {
            let line = format!("{{command: worker:{command}, pid: {pid}}}");
            let actions = master.tell(sent(2, &line, OTHER_USER, membership));
            assert_eq!(errors(&actions), [""; 0], "{line}");
        }
        let worker = &master.state.workers[&Pid(1001)];
        assert!(worker.is_acked() && worker.ping.is_some(), "{pid}");
    }
}

#[test]
fn another_user_does_not_speak_for_another_worker() {
    let mut master = master(To::Given);
    let known = facts(&master.state);
    for (pid, membership) in [(1000, None), (1600, Some(Membership::InGroup(Pid(1002))))] {
        for command in ["ack", "ping"] {
            let line = format!("{{command: worker:{command}, pid: {pid}}}");
            let actions = master.tell(sent(2, &line, OTHER_USER, membership));
            let told = errors(&actions).join("\n");
            let why = ", sent by process 1500 of user 33: over the connection of worker 1001, only";
            assert!(told.contains(&format!(" {pid}{why}")), "{told}");
        }
    }
    assert_eq!(facts(&master.state), known);
    // Nor for anyone when its own has ended, and may hold the connection of one with its pid.
    master.exit(1001);
    let actions = master.tell(sent(2, "{command: worker:ping, pid: 1000}", OTHER_USER, None));
    assert!(errors(&actions).join("\n").contains("whose worker is gone"), "{actions:?}");
    assert_eq!(master.state.workers[&Pid(1000)].ping, None);
}

#[test]
fn another_user_commands_nothing() {
    let names = COMMANDS.iter().map(|command| command.name).chain(["fly", "state"]);
    for name in names.filter(|name| !name.starts_with("worker:")) {
        let mut master = master(To::Given);
        let before = master.state.clone();
        let line = format!("{{command: {name}, id: 7, events: true, args: ['3']}}");
        let actions = master.tell(sent(2, &line, OTHER_USER, None));
        let told = errors(&actions).join("\n");
        let begins = format!("Refused {name:?} from process 1500 of user 33: ");
        assert!(told.starts_with(&begins), "{name}: {actions:?}");
        let replies: Vec<_> = actions
            .iter()
            .filter_map(|action| match action {
                Action::Log { .. } => None,
                Action::Reply { connection: ConnectionId(2), reply } => Some(reply),
                other => panic!("{name}: {other:?}"),
            })
            .collect();
        let [reply] = replies[..] else { panic!("{name}: {replies:?}") };
        assert_eq!(reply.message, told);
        assert!(!reply.wait, "{name}");
        let event = reply.event.as_ref().map(|event| event.to_string()).unwrap_or_default();
        assert!(event.contains(&format!("{:?}", Outcome::Refused.name())), "{name}: {event}");
        assert_eq!(master.state, before, "{name}");
    }
}

#[test]
fn a_lesser_line_that_is_no_request_is_answered_as_any() {
    for line in ["{", "{id: 3}", "{command: worker:ack}"] {
        let actions = |authority| master(To::Given).tell(sent(2, line, authority, None));
        assert_eq!(actions(OTHER_USER), actions(Authority::Full), "{line}");
    }
}

#[test]
fn a_sender_that_nobody_can_see_is_named_as_such() {
    let unseen = Authority::OwnWorker(Sender { pid: 0, uid: 65534 });
    let actions = master(To::Given).tell(sent(2, "{command: die}", unseen, None));
    let told = errors(&actions).join("\n");
    assert!(told.contains("from an unknown process of user 65534: "), "{told}");
}
