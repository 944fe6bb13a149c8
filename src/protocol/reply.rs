//! Replies of the master: formatting and parsing.

use serde::Deserialize;

use crate::protocol::line::{escape, unescape};
use crate::protocol::psych::{Psych, document};
use crate::protocol::reply_event::ReplyEvent;
use crate::protocol::value::Value;
use crate::scalar::Scalar;

/// One reply line to a client.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The text to print.
    pub message: String,
    /// The request's id; without one, only the message is sent.
    pub request_id: Option<Scalar>,
    /// Whether more replies to the same request follow.
    pub wait: bool,
    /// The event for programs, as JSON; see [`ReplyEvent`](crate::protocol::ReplyEvent).
    pub event: Option<String>,
}

impl Reply {
    /// Formats the line to send, newline included.
    pub fn to_line(&self) -> String {
        let mut entries = vec![(Psych::Name("message"), Psych::text(&self.message))];
        if let Some(id) = &self.request_id {
            entries.push((Psych::Name("request_id"), Psych::Scalar(id.clone())));
            if self.wait {
                entries.push((Psych::Name("wait"), Psych::bool(true)));
            }
        }
        if let Some(event) = &self.event {
            entries.push((Psych::Name("event"), Psych::text(event)));
        }
        let mut line = escape(&document(&Psych::Map(entries)));
        line.push('\n');
        line
    }

    /// Replaces the message, also in the event.
    pub fn with_message(self, message: String) -> Reply {
        let with_message = |event: String| match ReplyEvent::parse(&event) {
            Ok(event) => event.with_message(message.clone()).to_json(),
            Err(_) => event,
        };
        Reply { event: self.event.map(with_message), message, ..self }
    }

    /// Parses a reply line, of this master or of the original.
    ///
    /// # Errors
    /// Why the line is not a mapping with a `message`.
    pub fn parse(line: &str) -> Result<Reply, String> {
        // The message may be any scalar: the original writes one that looks like a number plain.
        #[derive(Deserialize)]
        struct Wire {
            message: Value,
            request_id: Option<Value>,
            #[serde(default)]
            wait: bool,
            event: Option<String>,
        }
        let wire: Wire =
            serde_yaml::from_str(&unescape(line)).map_err(|error| error.to_string())?;
        Ok(Reply {
            message: wire.message.to_string(),
            request_id: match wire.request_id {
                Some(Value::Scalar(id)) => Some(id),
                _ => None,
            },
            wait: wire.wait,
            event: wire.event,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_one_line_and_round_trips() {
        let reply = Reply {
            message: "100%\nsecond line\n".to_owned(),
            request_id: Some(Scalar::Integer(4)),
            wait: true,
            event: None,
        };
        assert_eq!(
            reply.to_line(),
            "---%0Amessage: \"100%25\\nsecond line\\n\"%0Arequest_id: 4%0Await: true%0A\n"
        );
        assert_eq!(Reply::parse(reply.to_line().trim_end()), Ok(reply));
    }

    #[test]
    fn without_an_id_there_is_only_the_message() {
        let reply = Reply { message: "hi".to_owned(), request_id: None, wait: true, event: None };
        assert_eq!(reply.to_line(), "---%0Amessage: \"hi\"%0A\n");
    }

    #[test]
    fn replies_of_the_original_are_parsed() {
        let line = "---%0Amessage: |%0A  Welcome!%0A  100%25%0Arequest_id: 1%0Await: true%0A";
        let reply = Reply::parse(line).unwrap();
        assert_eq!(reply.message, "Welcome!\n100%\n");
        assert_eq!((reply.request_id, reply.wait), (Some(Scalar::Integer(1)), true));
    }
}
