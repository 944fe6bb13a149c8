//! The clients that exist, one by one: the very bytes that each sends, and what comes back.

use einhorn::decide::{Action, Authority, Event};
use einhorn::protocol::{LineBuffer, Request};
use einhorn::state::ConnectionId;

use super::transcripts::To;
use super::{facts, master, written};

/// A client, whom it speaks to, its bytes, and what comes of them: the lines that are sent back
/// (`<`), signals and closes, what the master knows now and did not before.
type Conversation = (&'static str, To, &'static [u8], &'static [&'static str]);

const CONVERSATIONS: &[Conversation] = &[
    (
        "Ruby's worker library, by the path of the command socket",
        To::Manual,
        b"---%0Acommand: worker:ack%0Apid: 1001%0A\n",
        &["close", "now 1001 acked"],
    ),
    (
        "Ruby's worker library, over the connection of -g, and a ping over the same",
        To::Given,
        b"---%0Acommand: worker:ack%0Apid: 1001%0A\n\
          ---%0Acommand: worker:ping%0Apid: 1001%0Arequest_id: GET /%253F%0A\n",
        &["now 1001 acked", "now 1001 pinged with Some(Text(\"GET /%3F\"))"],
    ),
    (
        "Ruby's worker library on Ruby 1.8, whose YAML is Syck's",
        To::Manual,
        b"--- %0Apid: 1001%0Acommand: worker:ack%0A\n",
        &["close", "now 1001 acked"],
    ),
    (
        "Ruby's einhornsh, on a terminal",
        To::Empty,
        b"---%0Acommand: ehlo%0Auser: gdb%0A\n---%0Aid: 1%0Acommand: inc%0Aargs: []%0A\n",
        &[
            "< ---%0Amessage: \"Welcome, gdb! You are speaking to Einhorn Master Process 900, \
             einhorn VERSION\\n\"%0A",
            "< ---%0Amessage: \"Incrementing number of workers from 1 -> 2\"%0Arequest_id: 1%0A",
            "now number 2",
        ],
    ),
    (
        "Ruby's einhornsh: words that YAML takes for something else",
        To::Manual,
        b"---%0Aid: 7%0Acommand: signal%0Aargs:%0A- winch%0A- 'yes'%0A\n\
          ---%0Aid: 8%0Acommand: set_workers%0Aargs:%0A- '2'%0A\n\
          ---%0Aid: 9%0Acommand: config%0Aargs:%0A- ':verbosity: 0'%0A\n",
        &[
            "< ---%0Amessage: \"Invalid signal: \\\"yes\\\". Known: HUP INT QUIT ILL TRAP ABRT BUS \
             FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU URG XCPU \
             XFSZ VTALRM PROF WINCH IO PWR SYS\"%0Arequest_id: 7%0A",
            "< ---%0Amessage: \"Altering worker count, 3 -> 2. Will gracefully terminate \
             workers.\"%0Arequest_id: 8%0A",
            "< ---%0Amessage: \"Changed verbosity to 0\"%0Arequest_id: 9%0A",
            "now number 2",
            "now verbosity 0",
        ],
    ),
    (
        "Ruby's einhornsh: an upgrade",
        To::Manual,
        b"---%0Aid: 1%0Acommand: upgrade%0Aargs: []%0A\n",
        &[
            "< ---%0Amessage: \"Upgrading, as commanded\"%0Arequest_id: 1%0Await: true%0A",
            "asks a candidate",
        ],
    ),
    (
        "an einhornsh of the first releases, which sends no id",
        To::Manual,
        b"--- %0Aargs: []%0A%0Acommand: dec%0A\n",
        &["< ---%0Amessage: \"Decrementing number of workers from 3 -> 2\"%0A", "now number 2"],
    ),
    (
        "a Ruby script whose keys are symbols",
        To::Manual,
        b"---%0A:id: 3%0A:command: dec%0A:args: []%0A\n",
        &[
            "< ---%0Amessage: \"Decrementing number of workers from 3 -> 2\"%0Arequest_id: 3%0A",
            "now number 2",
        ],
    ),
    (
        "ids that only Ruby tells from strings come back as strings",
        To::Manual,
        b"---%0Aid: :x%0Acommand: dec%0A\n---%0Aid: 2026-11-20%0Acommand: inc%0A\n",
        &[
            "< ---%0Amessage: \"Decrementing number of workers from 3 -> 2\"%0Arequest_id: \
             \":x\"%0A",
            "< ---%0Amessage: \"Incrementing number of workers from 2 -> 3\"%0Arequest_id: \
             \"2026-11-20\"%0A",
        ],
    ),
    (
        "goji's bind package and Reddit's baseplate, which write the same bytes",
        To::Manual,
        b"{\"command\": \"worker:ack\", \"pid\": 1001}\n",
        &["close", "now 1001 acked"],
    ),
    (
        "the original's README, for every other language",
        To::Given,
        b"{\"command\":\"worker:ack\", \"pid\":1001}\n",
        &["now 1001 acked"],
    ),
    (
        "go-einhorn, which misspells, and ends its line twice: not closed under the second end",
        To::Manual,
        b"{\"comand\":\"worker:ack\",\"Pid\":1001}\n\n",
        &[
            "< ---%0Amessage: \"Could not parse command: expected a mapping with \\\"command\\\", \
             got nothing\"%0A",
            "now 1001 acked",
        ],
    ),
    (
        "somebody who misspells like go-einhorn, but means something else",
        To::Manual,
        b"{\"comand\": \"die\"}\n",
        &["< ---%0Amessage: \"No \\\"command\\\" parameter provided; not sure what you want me \
             to do.\"%0A"],
    ),
    (
        "our einhornsh",
        To::Manual,
        b"{\"args\":[\"louder 100%25\"],\"command\":\"inc\",\"id\":1}\n",
        &[
            "< ---%0Amessage: \"Incrementing number of workers from 3 -> 4\"%0Arequest_id: 1%0A",
            "now number 4",
        ],
    ),
];

#[test]
fn each_client_gets_what_it_expects() {
    let mut wrong = Vec::new();
    for (client, to, bytes, due) in CONVERSATIONS {
        let found = conversation(*to, bytes);
        if found != *due {
            wrong.push(format!("{client}\n  found {found:#?}\n  due {due:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Sends bytes, in one write or a byte at a time; the log is left out.
fn conversation(to: To, bytes: &[u8]) -> Vec<String> {
    let at_once = conversation_of(to, &[bytes]);
    let bytewise: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(conversation_of(to, &bytewise), at_once);
    at_once
}

fn conversation_of(to: To, writes: &[&[u8]]) -> Vec<String> {
    let mut master = master(to);
    let known = facts(&master.state);
    let connection = ConnectionId(if to == To::Given { 2 } else { 1 });
    let mut buffer = LineBuffer::default();
    let mut done = Vec::new();
    for write in writes {
        buffer.push(write);
        while let Some(line) = buffer.next_line() {
            let request = Request::parse(&line);
            let (authority, membership) = (Authority::Full, None);
            let event = Event::Requested { connection, request, authority, membership };
            let actions = master.tell(event);
            done.extend(actions.iter().filter_map(sent));
        }
    }
    let learned = facts(&master.state).into_iter().filter(|fact| !known.contains(fact));
    done.extend(learned.map(|fact| format!("now {fact}")));
    done
}

/// An action as the table writes it.
fn sent(action: &Action) -> Option<String> {
    match action {
        Action::Reply { reply, .. } => {
            let line = reply.to_line().replace(einhorn::state::release(), "VERSION");
            Some(format!("< {}", line.strip_suffix('\n')?))
        }
        Action::Log { .. } => None,
        other => written(other),
    }
}
