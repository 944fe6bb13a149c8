//! Requests of clients.

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::protocol::line::{LINE_MAX, Line, unescape};
use crate::protocol::value::Value;
use crate::scalar::Scalar;

/// A parsed request. Whether the command exists and its arguments are valid is for `decide`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// The name of the command.
    pub command: Option<String>,
    /// Echoed as `request_id`.
    pub id: Option<Scalar>,
    /// The arguments.
    pub args: Args,
    /// `ehlo`: the user's name.
    pub user: Option<String>,
    /// `worker:ack`, `worker:ping`: the worker's pid.
    pub pid: Option<Scalar>,
    /// `worker:ping`: the id that the worker gives, shown in the state dump.
    pub request_id: Option<Scalar>,
    /// Whether this is an ACK of the Go library `go-einhorn`, which misspells the keys as `comand`
    /// and `Pid`. It sends an empty line afterwards, so its connection must not be closed yet.
    pub is_misspelt: bool,
    /// Whether the client asks for an `event` in each reply.
    pub wants_events: bool,
}

/// The `args` of a request.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Args {
    /// None were sent.
    #[default]
    Absent,
    /// A list of scalars, each as a string.
    List(Vec<String>),
    /// Anything else, with an error message for the client.
    Invalid(String),
}

/// Why a line is not a request, as a message for the client. The connection stays usable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRequest(pub String);

impl Request {
    /// Whether the command only reports, so that it is useless without its reply.
    pub fn is_query(&self) -> bool {
        let command = self.command.as_deref();
        matches!(command, Some("ehlo" | "help" | "metrics" | "state" | "status"))
    }

    /// Whether it is `worker:ack` or `worker:ping`.
    pub fn is_worker_message(&self) -> bool {
        matches!(self.command.as_deref(), Some("worker:ack" | "worker:ping"))
    }

    /// The pid that it names, as clients write one: a number, or a string of one.
    pub fn named_pid(&self) -> Option<i32> {
        match self.pid.as_ref()? {
            Scalar::Integer(number) => i32::try_from(*number).ok(),
            Scalar::Text(text) => text.parse().ok(),
            Scalar::Bool(_) | Scalar::Float(_) => None,
        }
    }

    /// Parses a line.
    ///
    /// # Errors
    /// The line is too long, not UTF-8, not YAML, or not a mapping.
    pub fn parse(line: &Line) -> Result<Request, BadRequest> {
        let Line::Complete(bytes) = line else {
            return Err(BadRequest(format!(
                "Could not parse command: the line is longer than {LINE_MAX} bytes"
            )));
        };
        let unparsable = |why: String| BadRequest(format!("Could not parse command: {why}"));
        let text = std::str::from_utf8(bytes)
            .map_err(|error| unparsable(format!("it is not UTF-8: {error}")))?;
        let document = unescape(text);
        let value = Value::parse(&document).map_err(unparsable)?;
        if !matches!(value, Value::Map(_)) {
            let why = format!("expected a mapping with \"command\", got {}", value.kind());
            return Err(unparsable(why));
        }
        let command = string(&value, "command");
        let misspelt = string(&value, "comand").filter(|name| name == "worker:ack");
        Ok(Request {
            is_misspelt: command.is_none() && misspelt.is_some(),
            wants_events: value.get("events") == Some(&Value::Scalar(Scalar::Bool(true))),
            command: command.or(misspelt),
            id: scalar(&value, "id").map(|id| as_sent(&document, "id", id)),
            args: value.get("args").map_or(Args::Absent, args),
            user: string(&value, "user"),
            pid: scalar(&value, "pid").or_else(|| scalar(&value, "Pid")),
            request_id: scalar(&value, "request_id").map(|id| as_sent(&document, "request_id", id)),
        })
    }
}

fn scalar(request: &Value, name: &str) -> Option<Scalar> {
    match request.get(name)? {
        Value::Scalar(scalar) => Some(scalar.clone()),
        Value::Null | Value::List(_) | Value::Map(_) => None,
    }
}

/// Corrects a scalar that the parser took for a number: an integer too large for it, or a string
/// that Psych writes plain because it is not a number in YAML 1.1, such as `1e5` and `0o17`.
fn as_sent(document: &str, name: &str, read: Scalar) -> Scalar {
    // Parsing a request twice is slow, and most ids are integers.
    let is_certain = match read {
        Scalar::Float(_) => false,
        Scalar::Integer(_) => !document.contains("0o"),
        Scalar::Bool(_) | Scalar::Text(_) => true,
    };
    if is_certain {
        return read;
    }
    let Some(plain) = plain_scalar(document, name) else { return read };
    let digits = plain.trim_start_matches(['-', '+']);
    let is_float = matches!(read, Scalar::Float(_));
    if is_float && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return plain.parse().map_or(Scalar::Text(plain), Scalar::Integer);
    }
    let exponent = digits.split_once(['e', 'E']).map(|(_, exponent)| exponent);
    let in_yaml_1_1 = digits.contains('.') && exponent.is_none_or(|e| e.starts_with(['-', '+']));
    let is_string = if is_float { !in_yaml_1_1 } else { digits.starts_with("0o") };
    match is_string && serde_json::from_str::<IgnoredAny>(document).is_err() {
        true => Scalar::Text(plain),
        false => read,
    }
}

/// The scalars that are sent back to clients, as the characters that were sent.
#[derive(Deserialize)]
struct Plain {
    #[serde(alias = ":id")]
    id: Option<String>,
    #[serde(alias = ":request_id")]
    request_id: Option<String>,
}

fn plain_scalar(document: &str, name: &str) -> Option<String> {
    let plain: Plain = serde_yaml::from_str(document).ok()?;
    if name == "id" { plain.id } else { plain.request_id }
}

fn string(request: &Value, name: &str) -> Option<String> {
    scalar(request, name).map(|scalar| scalar.to_string())
}

fn args(value: &Value) -> Args {
    let items = match value {
        Value::Null => return Args::Absent,
        Value::List(items) => items,
        other => return Args::Invalid(format!("Args must be a list, not {}", other.kind())),
    };
    let word = |item: &Value| match item {
        Value::Scalar(scalar) => Ok(scalar.to_string()),
        other => Err(format!("Each argument must be a string, not {}", other.kind())),
    };
    let words = items.iter().map(word).collect::<Result<_, _>>();
    words.map_or_else(Args::Invalid, Args::List)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Request, BadRequest> {
        Request::parse(&Line::Complete(line.as_bytes().to_vec()))
    }

    #[test]
    fn yaml_and_json_requests_are_parsed_alike() {
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
            let json = format!("{{\"command\": \"x\", \"id\": {given}}}");
            let json = if given.contains('\'') { json.replace('\'', "\"") } else { json };
            assert_eq!(parse(&json).unwrap().id, id, "{json}");
        }
    }

    #[test]
    fn plain_scalars_have_the_types_of_psych() {
        let text = |text: &str| Some(Scalar::Text(text.to_owned()));
        let beyond = "9".repeat(40);
        for (given, id) in [
            ("1e5", text("1e5")),
            ("1.5e3", text("1.5e3")),
            ("0o17", text("0o17")),
            ("-0o17", text("-0o17")),
            ("1.5e+3", Some(Scalar::Float(1500.0))),
            ("-.5", Some(Scalar::Float(-0.5))),
            (".inf", Some(Scalar::Float(f64::INFINITY))),
            ("0x10", Some(Scalar::Integer(16))),
            (&beyond, text(&beyond)),
        ] {
            let line = format!("---%0Acommand: x%0Aid: {given}%0A:request_id: {given}%0A");
            let request = parse(&line).unwrap();
            assert_eq!(request.id, id, "{given}");
            assert_eq!(request.request_id, id, "{given}");
        }
        let json = parse("{\"command\": \"x\", \"id\": 1e5}").unwrap();
        assert_eq!(json.id, Some(Scalar::Float(1e5)));
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
