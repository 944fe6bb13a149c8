//! A master that the test plays: it answers by a script.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread::JoinHandle;

use einhorn::outcome::Outcome;
use einhorn::protocol::{
    End, Line, Numbers, Progress, ProgressStage, Reply, ReplyEvent, Request, WorkerFailure,
};

use crate::support::rig::Rig;
use crate::support::wait;

/// A line of the script.
#[derive(Clone, Debug)]
pub(crate) enum Say {
    /// Something that goes on; more follows.
    Goes(Progress),
    /// The last line, with its event.
    Ends(End),
    /// A line without an event, as an original master sends it; whether more follows.
    Words(&'static str, bool),
    /// Nothing more, until the client leaves.
    Nothing,
}

impl Say {
    /// Whether no other line answers the same request.
    fn is_last(&self) -> bool {
        !matches!(self, Say::Goes(_) | Say::Words(_, true))
    }

    /// The event, as it is sent.
    pub(crate) fn event(&self) -> Option<String> {
        match self {
            Say::Goes(progress) => Some(ReplyEvent::Progress(progress.clone()).to_json()),
            Say::Ends(end) => Some(ReplyEvent::End(end.clone()).to_json()),
            Say::Words(..) | Say::Nothing => None,
        }
    }

    pub(crate) fn message(&self) -> &str {
        match self {
            Say::Goes(progress) => &progress.message,
            Say::Ends(end) => &end.message,
            Say::Words(message, _) => message,
            Say::Nothing => "",
        }
    }
}

/// A master at the rig's command socket that serves one client by the script: each request is
/// answered by the lines up to the next last one. Then it goes away. Answers what it was asked.
pub(crate) fn master(rig: &Rig, script: Vec<Say>) -> JoinHandle<Vec<Request>> {
    let listener = UnixListener::bind(rig.socket()).unwrap();
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        let connected = || listener.accept().ok();
        let (client, _) = wait::until_some("a client connects", connected, String::new);
        client.set_nonblocking(false).unwrap();
        client.set_read_timeout(Some(wait::PATIENCE)).unwrap();
        let mut lines = BufReader::new(client.try_clone().unwrap());
        script
            .split_inclusive(Say::is_last)
            .map(|answer| serve(&client, &mut lines, answer))
            .collect()
    })
}

fn serve(mut client: &UnixStream, lines: &mut BufReader<UnixStream>, answer: &[Say]) -> Request {
    let mut line = Vec::new();
    lines.read_until(b'\n', &mut line).unwrap();
    assert_eq!(line.pop(), Some(b'\n'), "the client left");
    let request = Request::parse(&Line::Complete(line)).unwrap();
    for say in answer {
        if let Say::Nothing = say {
            assert_eq!(lines.read(&mut [0]).unwrap(), 0);
            break;
        }
        let reply = Reply {
            message: say.message().to_owned(),
            request_id: request.id.clone(),
            wait: !say.is_last(),
            event: say.event(),
        };
        // The client may have seen enough and left.
        let _ = client.write_all(reply.to_line().as_bytes());
    }
    request
}

/// Four workers to be replaced, one of them so far.
const NUMBERS: Numbers =
    Numbers { generation: 2, acked: 1, target: 4, old_left: 3, failed: 0, elapsed_ms: 1100 };

/// A line of an upgrade that goes on.
pub(crate) fn goes(stage: ProgressStage, message: &str) -> Say {
    Say::Goes(Progress { stage, numbers: NUMBERS, message: message.to_owned() })
}

/// The last line.
pub(crate) fn ends(outcome: Outcome, message: &str) -> Say {
    Say::Ends(End {
        outcome,
        exit_status: outcome.exit_status(),
        numbers: NUMBERS,
        release: None,
        message: message.to_owned(),
        failures: Vec::new(),
    })
}

/// The last line of an upgrade that failed, with workers that did.
pub(crate) fn failed(message: &str) -> Say {
    let failure = |pid, slot, what: &str, age_ms, last_words: Option<&str>| WorkerFailure {
        pid,
        slot,
        what: what.to_owned(),
        age_ms,
        last_words: last_words.map(str::to_owned),
    };
    let Say::Ends(end) = ends(Outcome::Failed, message) else { unreachable!() };
    let words = "Traceback:\n  \x1b[2Jno module\n";
    let failures = vec![
        failure(Some(17), 4, "exit status 3", 120, Some(words)),
        failure(None, 5, "cannot execute bin/server: No such file or directory", 0, None),
    ];
    Say::Ends(End { failures, release: Some("/srv/web/releases/42".to_owned()), ..end })
}
