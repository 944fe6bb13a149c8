//! A blocking client of the command socket, for `einhornsh` and the tests.
//!
//! It works with this master and with the original: every request carries an integer id and a list
//! of arguments. It never reconnects, and never sends a request twice.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::protocol::{Reply, as_yaml, escape};
use crate::scalar::Scalar;

/// The longest reply line in bytes, its newline not counted. A state dump of 10 000 workers is
/// about 4 MB; a peer that is not a master must not fill the memory.
const REPLY_MAX: usize = 64 * 1024 * 1024;

/// How much of an unparsable reply its error shows, in characters: enough to recognise it.
const EXCERPT_MAX: usize = 80;

/// The shortest time to wait for a message: a socket takes zero for no timeout.
const TIMEOUT_MIN: Duration = Duration::from_millis(1);

/// A connection to a master.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
    /// The part of a reply line that has been read; after a timeout the next read continues it.
    line: Vec<u8>,
    last_id: u32,
}

impl Client {
    /// Connects to the master that listens at `path`.
    ///
    /// # Errors
    /// [`ClientError::Connect`].
    pub fn connect(path: &Path) -> Result<Client, ClientError> {
        let stream = UnixStream::connect(path).map_err(|error| ClientError::Connect {
            path: path.to_owned(),
            error: explain(path, error),
        })?;
        Ok(Client { stream: BufReader::new(stream), line: Vec::new(), last_id: 0 })
    }

    /// Sets how long a read waits for bytes of a reply; `None`, the default, waits for ever.
    ///
    /// # Errors
    /// A timeout of zero.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.stream.get_ref().set_read_timeout(timeout)
    }

    /// Sends a command. The iterator reads its messages from the connection.
    ///
    /// # Errors
    /// [`ClientError::Lost`].
    pub fn request(&mut self, command: &str, args: &[&str]) -> Result<Replies<'_>, ClientError> {
        self.send(json!({"command": command, "args": args}))
    }

    /// Like [`Client::request`], with an event in every reply if the master supports them.
    ///
    /// # Errors
    /// [`ClientError::Lost`].
    pub fn request_events(
        &mut self,
        command: &str,
        args: &[&str],
    ) -> Result<Replies<'_>, ClientError> {
        self.send(json!({"command": command, "args": args, "events": true}))
    }

    /// Sends `ehlo` with the user's name.
    ///
    /// # Errors
    /// [`ClientError::Lost`].
    pub fn greet(&mut self, user: &str) -> Result<Replies<'_>, ClientError> {
        self.send(json!({"command": "ehlo", "args": [], "user": user}))
    }

    fn send(&mut self, mut request: Value) -> Result<Replies<'_>, ClientError> {
        self.last_id = self.last_id.wrapping_add(1);
        request["id"] = self.last_id.into();
        self.send_line(&escape(&as_yaml(&request.to_string())))?;
        Ok(Replies { id: self.last_id, client: Some(self) })
    }

    /// Sends a raw request line; read its replies with [`Client::next_reply`].
    ///
    /// # Errors
    /// [`ClientError::Lost`].
    pub fn send_line(&mut self, line: &str) -> Result<(), ClientError> {
        let line = format!("{line}\n");
        self.stream.get_mut().write_all(line.as_bytes()).map_err(ClientError::Lost)
    }

    /// Reads the next message, for any request.
    ///
    /// # Errors
    /// Every [`ClientError`] but `Connect`. After `TimedOut` and `Unparsable` the connection can
    /// still be used.
    pub fn next_reply(&mut self) -> Result<Reply, ClientError> {
        let room = REPLY_MAX + 1 - self.line.len();
        let mut bounded = (&mut self.stream).take(room as u64);
        bounded.read_until(b'\n', &mut self.line).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ClientError::TimedOut,
            _ => ClientError::Lost(error),
        })?;
        if self.line.pop_if(|byte| *byte == b'\n').is_none() {
            return Err(match self.line.len() > REPLY_MAX {
                true => ClientError::ReplyTooLong,
                false => ClientError::Lost(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the master closed it",
                )),
            });
        }
        let line = std::mem::take(&mut self.line);
        let unparsable = |why: String| ClientError::Unparsable {
            excerpt: String::from_utf8_lossy(&line).chars().take(EXCERPT_MAX).collect(),
            why,
        };
        let text = str::from_utf8(&line).map_err(|error| unparsable(error.to_string()))?;
        Reply::parse(text).map_err(unparsable)
    }
}

/// The replies to one request, read from the connection one by one. Ends after the reply that has
/// no `wait`, and after an error other than a timeout.
#[derive(Debug)]
pub struct Replies<'client> {
    id: u32,
    /// `None` after the last reply.
    client: Option<&'client mut Client>,
}

impl Replies<'_> {
    /// A reply without an id counts: a master sends one when it could not parse the request. One
    /// with another id was left unread by an earlier request.
    fn is_ours(&self, reply: &Reply) -> bool {
        reply.request_id.as_ref().is_none_or(|id| *id == Scalar::Integer(i128::from(self.id)))
    }

    /// The next reply; [`ClientError::TimedOut`] if no bytes of it arrive in time.
    pub fn next_within(&mut self, timeout: Option<Duration>) -> Option<Result<Reply, ClientError>> {
        let client = self.client.as_ref()?;
        let timeout = timeout.map(|timeout| timeout.max(TIMEOUT_MIN));
        if let Err(error) = client.set_read_timeout(timeout) {
            return Some(Err(ClientError::Lost(error)));
        }
        self.next()
    }
}

impl Iterator for Replies<'_> {
    type Item = Result<Reply, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let reply = self.client.as_mut()?.next_reply();
            match &reply {
                Ok(reply) if !self.is_ours(reply) => continue,
                Ok(reply) if reply.wait => {}
                Err(ClientError::TimedOut) => {}
                Ok(_) | Err(_) => self.client = None,
            }
            return Some(reply);
        }
    }
}

/// Why a client got no reply.
#[derive(Debug)]
pub enum ClientError {
    /// The client cannot connect to this path.
    Connect {
        /// The command socket.
        path: PathBuf,
        /// The reason, with the kind that the system reported.
        error: io::Error,
    },
    /// The connection ended before the last message arrived.
    Lost(io::Error),
    /// Nothing arrived within the timeout.
    TimedOut,
    /// A reply is longer than any that a master sends.
    ReplyTooLong,
    /// A line is not a reply of a master.
    Unparsable {
        /// Its first characters.
        excerpt: String,
        /// What is wrong with it.
        why: String,
    },
}

impl fmt::Display for ClientError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Connect { path, error } => {
                write!(out, "cannot connect to the command socket {}: {error}", path.display())
            }
            ClientError::Lost(error) => {
                write!(out, "lost the connection before the reply was complete: {error}")
            }
            ClientError::TimedOut => out.write_str("the master did not reply in time"),
            ClientError::ReplyTooLong => {
                write!(out, "the master's reply is longer than {REPLY_MAX} bytes")
            }
            ClientError::Unparsable { excerpt, why } => {
                write!(out, "cannot parse the reply {excerpt:?}: {why}")
            }
        }
    }
}

impl std::error::Error for ClientError {}

/// Explains to the user why connecting failed.
fn explain(path: &Path, error: io::Error) -> io::Error {
    let is_socket = || path.metadata().is_ok_and(|found| found.file_type().is_socket());
    let reason = match error.kind() {
        io::ErrorKind::NotFound => "no such file; is einhorn running?",
        io::ErrorKind::ConnectionRefused if is_socket() => {
            "nothing is listening there; is einhorn running?"
        }
        io::ErrorKind::ConnectionRefused => "not a socket",
        io::ErrorKind::PermissionDenied => {
            "permission denied; are you the user that einhorn runs as?"
        }
        io::ErrorKind::InvalidInput => "the path is too long for a socket",
        _ => return error,
    };
    io::Error::new(error.kind(), reason)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::thread::JoinHandle;

    use super::*;
    use crate::protocol::{Args, Line, Request};

    /// A fake master for one connection: for each element of `answers` it reads a request and
    /// writes these bytes; then it closes and returns the requests.
    fn master(answers: Vec<Vec<u8>>) -> (tempfile::TempDir, PathBuf, JoinHandle<Vec<Request>>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("einhorn.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let requests = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let answer = |bytes: Vec<u8>| {
                let line = lines.next().unwrap().unwrap();
                // The client may have disconnected.
                let _ = (&stream).write_all(&bytes);
                Request::parse(&Line::Complete(line.into_bytes())).unwrap()
            };
            answers.into_iter().map(answer).collect()
        });
        (folder, path, requests)
    }

    fn reply(id: Option<i128>, message: &str, wait: bool) -> String {
        let request_id = id.map(Scalar::Integer);
        Reply { message: message.to_owned(), request_id, wait, event: None }.to_line()
    }

    fn messages(replies: Replies<'_>) -> Vec<String> {
        replies.map(|reply| reply.unwrap().message).collect()
    }

    #[test]
    fn a_request_carries_command_id_and_arguments() {
        let (_folder, path, requests) =
            master(vec![reply(Some(1), "hello", false).into(), reply(Some(2), "", false).into()]);
        let mut client = Client::connect(&path).unwrap();
        assert_eq!(messages(client.greet("100% ü").unwrap()), ["hello"]);
        assert_eq!(messages(client.request("signal", &["HUP", "a\nb%"]).unwrap()), [""]);
        let requests = requests.join().unwrap();
        assert_eq!(requests[0].command.as_deref(), Some("ehlo"));
        assert_eq!(requests[0].user.as_deref(), Some("100% ü"));
        assert_eq!(requests[0].id, Some(Scalar::Integer(1)));
        assert_eq!(requests[0].args, Args::List(Vec::new()));
        assert_eq!(requests[1].command.as_deref(), Some("signal"));
        assert_eq!(requests[1].id, Some(Scalar::Integer(2)));
        assert_eq!(requests[1].args, Args::List(vec!["HUP".to_owned(), "a\nb%".to_owned()]));
        assert!(!requests[1].wants_events);
    }

    #[test]
    fn a_request_for_events_gets_them() {
        let answer = Reply {
            message: "hello".to_owned(),
            request_id: Some(Scalar::Integer(1)),
            wait: false,
            event: Some("{\"event\":\"end\"}".to_owned()),
        };
        let (_folder, path, requests) = master(vec![answer.to_line().into()]);
        let mut client = Client::connect(&path).unwrap();
        let replies: Vec<Reply> =
            client.request_events("inc", &["--wait"]).unwrap().map(Result::unwrap).collect();
        assert_eq!(replies, [answer]);
        let requests = requests.join().unwrap();
        assert!(requests[0].wants_events);
        assert_eq!(requests[0].args, Args::List(vec!["--wait".to_owned()]));
    }

    #[test]
    fn replies_end_after_the_first_without_wait() {
        let answer = [
            reply(Some(1), "first", true),
            reply(Some(7), "of an older request", true),
            reply(Some(1), "last", false),
            reply(Some(1), "too much", false),
        ];
        let (_folder, path, _requests) = master(vec![answer.concat().into()]);
        let mut client = Client::connect(&path).unwrap();
        assert_eq!(messages(client.request("upgrade", &[]).unwrap()), ["first", "last"]);
        assert_eq!(client.next_reply().unwrap().message, "too much");
    }

    #[test]
    fn a_reply_without_an_id_is_accepted() {
        let (_folder, path, _requests) = master(vec![reply(None, "unparsable", false).into()]);
        let mut client = Client::connect(&path).unwrap();
        assert_eq!(messages(client.request("inc", &[]).unwrap()), ["unparsable"]);
    }

    #[test]
    fn a_connection_that_ends_too_early_is_an_error() {
        let half = reply(Some(1), "first", true) + "---%0Amessage: hal";
        let (_folder, path, _requests) = master(vec![half.into()]);
        let mut client = Client::connect(&path).unwrap();
        let mut replies = client.request("upgrade", &[]).unwrap();
        assert_eq!(replies.next().unwrap().unwrap().message, "first");
        let error = replies.next().unwrap().unwrap_err();
        assert!(matches!(error, ClientError::Lost(_)), "{error}");
        assert!(replies.next().is_none());
    }

    #[test]
    fn an_unparsable_reply_is_an_error_and_the_next_line_is_read() {
        for bad in [&b"HTTP/1.1 400 Bad Request"[..], b"[1]", b"", b"\xff\xfe", b"{wait: true}"] {
            let good = reply(Some(2), "good", false);
            let (_folder, path, _requests) =
                master(vec![[bad, b"\n"].concat(), good.clone().into()]);
            let mut client = Client::connect(&path).unwrap();
            let error = client.request("inc", &[]).unwrap().next().unwrap().unwrap_err();
            assert!(matches!(error, ClientError::Unparsable { .. }), "{bad:?}: {error}");
            assert_eq!(messages(client.request("inc", &[]).unwrap()), ["good"]);
        }
    }

    #[test]
    fn an_endless_reply_is_refused() {
        let (_folder, path, _requests) = master(vec![vec![b'x'; REPLY_MAX + 1]]);
        let mut client = Client::connect(&path).unwrap();
        let error = client.request("state", &[]).unwrap().next().unwrap().unwrap_err();
        assert!(matches!(error, ClientError::ReplyTooLong), "{error}");
    }

    #[test]
    fn a_partial_line_is_continued_after_a_timeout() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut client = Client { stream: BufReader::new(ours), line: Vec::new(), last_id: 0 };
        client.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        theirs.write_all(b"---%0Amessage: ha").unwrap();
        let error = client.next_reply().unwrap_err();
        assert!(matches!(error, ClientError::TimedOut), "{error}");
        theirs.write_all(b"lf%0A\n").unwrap();
        assert_eq!(client.next_reply().unwrap().message, "half");
    }

    #[test]
    fn replies_can_be_read_after_a_timeout() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut client = Client { stream: BufReader::new(ours), line: Vec::new(), last_id: 0 };
        let mut replies = client.request("upgrade", &[]).unwrap();
        for span in [Duration::from_millis(20), Duration::ZERO] {
            let error = replies.next_within(Some(span)).unwrap().unwrap_err();
            assert!(matches!(error, ClientError::TimedOut), "{error}");
        }
        theirs.write_all(reply(Some(1), "first", true).as_bytes()).unwrap();
        assert_eq!(replies.next_within(None).unwrap().unwrap().message, "first");
        theirs.write_all(reply(Some(1), "last", false).as_bytes()).unwrap();
        let last = replies.next_within(Some(Duration::from_secs(30))).unwrap();
        assert_eq!(last.unwrap().message, "last");
        assert!(replies.next_within(None).is_none());
    }

    #[test]
    fn a_failed_connect_names_path_and_reason() {
        let folder = tempfile::tempdir().unwrap();
        let dead = folder.path().join("dead.sock");
        drop(UnixListener::bind(&dead).unwrap());
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        for (path, kind, words) in [
            (folder.path().join("none.sock"), io::ErrorKind::NotFound, "no such file"),
            (dead, io::ErrorKind::ConnectionRefused, "nothing is listening"),
            (file, io::ErrorKind::ConnectionRefused, "not a socket"),
            (folder.path().join("x".repeat(200)), io::ErrorKind::InvalidInput, "too long"),
        ] {
            let failure = Client::connect(&path).unwrap_err();
            let text = failure.to_string();
            assert!(text.contains(words) && text.contains(path.to_str().unwrap()), "{text}");
            let ClientError::Connect { error, .. } = failure else { panic!("{failure}") };
            assert_eq!(error.kind(), kind);
        }
    }
}
