//! Bytes of a client, as they may arrive.
//!
//! Asserts that the same bytes make the same lines however they are cut, that little memory is
//! held meanwhile, and that whatever a client may choose comes back to it unchanged.

use einhorn::protocol::{Args, BadRequest, LINE_MAX, Line, LineBuffer, Reply, Request};
use einhorn::protocol::{escape, unescape};

/// How much longer than its line a request may be in memory. An alias of YAML repeats what it
/// names, and nobody needs one.
const GROWTH_MAX: usize = 16;

/// Runs one input.
pub(crate) fn run(bytes: &[u8]) {
    let lines = lines_of(bytes);
    assert_eq!(received(bytes, &mut || bytes.len()), lines, "in one piece");
    let mut seed = bytes.iter().fold(1u64, |seed, byte| next(seed ^ u64::from(*byte)));
    for longest in [1, 100, 5000].into_iter().filter(|longest| bytes.len() < 500 * longest) {
        let mut length = || {
            seed = next(seed);
            1 + (seed >> 32) as usize % longest
        };
        assert_eq!(received(bytes, &mut length), lines, "in pieces of up to {longest}");
    }
    for line in &lines {
        if let Line::Complete(line) = line {
            survives_escapes(&String::from_utf8_lossy(line));
        }
        answer(line);
    }
}

/// What the lines must be: the bytes up to each newline, too long or not.
fn lines_of(bytes: &[u8]) -> Vec<Line> {
    let mut pieces: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    // Whatever follows the last newline waits.
    pieces.pop();
    let line = |piece: &[u8]| match piece.len() > LINE_MAX {
        true => Line::TooLong,
        false => Line::Complete(piece.to_vec()),
    };
    pieces.into_iter().map(line).collect()
}

/// Pushes the bytes in pieces of the lengths given and takes the lines that come.
fn received(bytes: &[u8], length: &mut dyn FnMut() -> usize) -> Vec<Line> {
    let mut buffer = LineBuffer::default();
    let mut lines = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (piece, later) = rest.split_at(length().min(rest.len()));
        rest = later;
        buffer.push(piece);
        assert!(buffer.len() <= LINE_MAX + piece.len(), "{} bytes held", buffer.len());
        lines.extend(std::iter::from_fn(|| buffer.next_line()));
        assert!(buffer.len() <= LINE_MAX, "{} bytes held for later", buffer.len());
    }
    lines
}

/// A generator of pseudo-random numbers (Knuth's MMIX constants).
fn next(seed: u64) -> u64 {
    seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407)
}

fn survives_escapes(document: &str) {
    let line = escape(document);
    assert!(!line.contains('\n'), "{line:?} is more than a line");
    assert_eq!(unescape(&line), document);
    assert!(unescape(document).len() <= document.len());
}

/// Understands a line and answers with all that it carries.
fn answer(line: &Line) {
    let length = match line {
        Line::Complete(line) => line.len(),
        Line::TooLong => LINE_MAX,
    };
    match Request::parse(line) {
        Err(BadRequest(why)) => {
            assert!(why.len() <= GROWTH_MAX * (length + 100), "{} bytes of {why:.99}", why.len());
            comes_back(Reply { message: why, request_id: None, wait: false, event: None });
        }
        Ok(request) => {
            let size = size(&request);
            assert!(size <= GROWTH_MAX * length, "{size} bytes made of {length}");
            for wait in [false, true] {
                let message = format!("{:?}{:?}", request.command, request.args);
                comes_back(Reply { message, request_id: request.id.clone(), wait, event: None });
                let message = request.user.clone().unwrap_or_default();
                comes_back(Reply {
                    message,
                    request_id: request.request_id.clone(),
                    wait,
                    event: None,
                });
            }
        }
    }
}

/// The bytes of text that a request holds.
fn size(request: &Request) -> usize {
    let args = match &request.args {
        Args::Absent => 0,
        Args::List(words) => words.iter().map(String::len).sum(),
        Args::Invalid(why) => why.len(),
    };
    let texts = [&request.command, &request.user].into_iter().flatten().map(String::len);
    args + texts.sum::<usize>()
}

/// A reply is one line, and a client reads from it what was meant.
fn comes_back(reply: Reply) {
    let line = reply.to_line();
    assert_eq!(line.find('\n'), Some(line.len() - 1), "{line:?} is not one line");
    // Without an id there is nothing to wait for.
    let wait = reply.wait && reply.request_id.is_some();
    let back = Reply::parse(line.trim_end_matches('\n'));
    // NaN is no number, and equals itself only as it is written.
    assert_eq!(format!("{back:?}"), format!("{:?}", Ok::<_, String>(Reply { wait, ..reply })));
}
