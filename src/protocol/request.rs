//! A line of a client, understood.

use crate::protocol::line::{LINE_MAX, Line, unescape};
use crate::protocol::value::Value;
use crate::scalar::Scalar;

/// A request as it arrived: which command it names and whether its arguments fit is for `decide`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// What is wanted.
    pub command: Option<String>,
    /// Echoed as `request_id`.
    pub id: Option<Scalar>,
    /// The arguments.
    pub args: Args,
    /// `ehlo`: who is there.
    pub user: Option<String>,
    /// `worker:ack`, `worker:ping`: which worker.
    pub pid: Option<Scalar>,
    /// `worker:ping`: the request that the worker is busy with.
    pub request_id: Option<Scalar>,
    /// An ACK as the Go library `go-einhorn` writes it, under keys that it misspells: `comand` and
    /// `Pid`. It sends an empty line after that, so its connection must not be closed under it.
    pub is_misspelt: bool,
}

/// The `args` of a request.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Args {
    /// None were sent.
    #[default]
    Absent,
    /// A list of scalars, each as a string.
    List(Vec<String>),
    /// Something else, described for the client.
    Invalid(String),
}

/// Why a line is no request. The connection stays usable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRequest(pub String);

impl Request {
    /// Whether it changes nothing and is worth nothing without its answer.
    pub fn only_asks(&self) -> bool {
        matches!(self.command.as_deref(), Some("ehlo" | "help" | "state"))
    }

    /// Understands a line.
    ///
    /// # Errors
    /// A line that is too long, not UTF-8, not YAML, or not a mapping.
    pub fn parse(line: &Line) -> Result<Request, BadRequest> {
        let Line::Complete(bytes) = line else {
            return Err(BadRequest(format!(
                "Could not parse command: the line is longer than {LINE_MAX} bytes"
            )));
        };
        let unparsable = |why: String| BadRequest(format!("Could not parse command: {why}"));
        let text = std::str::from_utf8(bytes)
            .map_err(|error| unparsable(format!("it is not UTF-8: {error}")))?;
        let value = Value::parse(&unescape(text)).map_err(unparsable)?;
        if !matches!(value, Value::Map(_)) {
            let why = format!("expected a mapping with \"command\", got {}", value.kind());
            return Err(unparsable(why));
        }
        let command = string(&value, "command");
        let misspelt = string(&value, "comand").filter(|name| name == "worker:ack");
        Ok(Request {
            is_misspelt: command.is_none() && misspelt.is_some(),
            command: command.or(misspelt),
            id: scalar(&value, "id"),
            args: value.get("args").map_or(Args::Absent, args),
            user: string(&value, "user"),
            pid: scalar(&value, "pid").or_else(|| scalar(&value, "Pid")),
            request_id: scalar(&value, "request_id"),
        })
    }
}

fn scalar(request: &Value, name: &str) -> Option<Scalar> {
    match request.get(name)? {
        Value::Scalar(scalar) => Some(scalar.clone()),
        Value::Null | Value::List(_) | Value::Map(_) => None,
    }
}

fn string(request: &Value, name: &str) -> Option<String> {
    match request.get(name)? {
        Value::Scalar(Scalar::Text(text)) => Some(text.clone()),
        Value::Scalar(other) => Some(other.to_string()),
        Value::Null | Value::List(_) | Value::Map(_) => None,
    }
}

fn args(value: &Value) -> Args {
    let items = match value {
        Value::Null => return Args::Absent,
        Value::List(items) => items,
        other => return Args::Invalid(format!("Args must be a list, not {}", other.kind())),
    };
    let mut words = Vec::new();
    for item in items {
        match item {
            Value::Scalar(scalar) => words.push(scalar.to_string()),
            other => {
                return Args::Invalid(format!("An argument is {}, not a string", other.kind()));
            }
        }
    }
    Args::List(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Request, BadRequest> {
        Request::parse(&Line::Complete(line.as_bytes().to_vec()))
    }

    #[test]
    fn what_clients_send_is_understood() {
        let ruby = parse("---%0Acommand: signal%0Aid: 7%0Aargs:%0A- HUP%0A- \"100%25\"%0A");
        let json = parse(r#"{"command":"signal","id":7,"args":["HUP","100%25"]}"#);
        assert_eq!(ruby, json);
        let request = ruby.unwrap();
        assert_eq!(request.command.as_deref(), Some("signal"));
        assert_eq!(request.id, Some(Scalar::Integer(7)));
        assert_eq!(request.args, Args::List(vec!["HUP".to_owned(), "100%".to_owned()]));
    }

    #[test]
    fn an_id_keeps_its_type() {
        for (given, id) in [
            ("5", Some(Scalar::Integer(5))),
            ("'5'", Some(Scalar::Text("5".to_owned()))),
            ("1.5", Some(Scalar::Float(1.5))),
            ("true", Some(Scalar::Bool(true))),
            ("18446744073709551615", Some(Scalar::Integer(i128::from(u64::MAX)))),
            (
                "123456789012345678901234567890",
                Some(Scalar::Integer(123456789012345678901234567890)),
            ),
            ("null", None),
        ] {
            assert_eq!(parse(&format!("{{command: x, id: {given}}}")).unwrap().id, id, "{given}");
        }
    }

    #[test]
    fn bad_lines_say_why() {
        for (line, why) in [
            ("", "got nothing"),
            ("42", "got a number"),
            ("[command, state]", "got a list"),
            ("{", "Could not parse"),
        ] {
            let BadRequest(message) = parse(line).unwrap_err();
            assert!(message.contains(why), "{line:?}: {message}");
        }
        let BadRequest(message) = Request::parse(&Line::Complete(vec![0xff])).unwrap_err();
        assert!(message.contains("UTF-8"), "{message}");
        let BadRequest(message) = Request::parse(&Line::TooLong).unwrap_err();
        assert!(message.contains("16384 bytes"), "{message}");
    }

    #[test]
    fn bad_args_keep_the_id() {
        let request = parse("{command: inc, id: 3, args: many}").unwrap();
        assert_eq!(request.id, Some(Scalar::Integer(3)));
        assert_eq!(request.args, Args::Invalid("Args must be a list, not a string".to_owned()));
    }
}
